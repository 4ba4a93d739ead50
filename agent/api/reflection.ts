/**
 * grpc.reflection.v1: tools such as grpcurl learn the services from the server. The same for everybody who may call;
 * nothing in it is secret.
 */
import { status } from "@grpc/grpc-js";
import type { Descriptors } from "./descriptor-files.ts";
import type {
  ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionServer,
} from "./gen/reflection.ts";

type Answer = Pick<
  ServerReflectionResponse,
  "fileDescriptorResponse" | "listServicesResponse" | "allExtensionNumbersResponse" | "errorResponse"
>;

/** @param services full names of what this server serves */
export function reflection(services: readonly string[]): ServerReflectionServer {
  return {
    serverReflectionInfo: (call) => {
      // Read when somebody asks, which on most nodes nobody does: the agent starts without it.
      const files = import("./descriptor-files.ts").then(({ descriptors }) => descriptors());
      const respond = async (request: ServerReflectionRequest): Promise<void> => {
        const response = answer(request, services, await files);
        if (call.write({ validHost: request.host, originalRequest: request, ...response })) call.resume();
        else call.once("drain", () => call.resume());
      };
      call.on("data", (request: ServerReflectionRequest) => {
        // One after the other, as fast as they are read.
        call.pause();
        void respond(request);
      });
      call.on("end", () => call.end());
    },
  };
}

function answer(request: ServerReflectionRequest, services: readonly string[], files: Descriptors): Answer {
  if (request.listServices !== undefined) {
    return { listServicesResponse: { service: services.map((name) => ({ name })) } };
  }
  if (request.fileByFilename !== undefined) return fileResponse(files.byName.get(request.fileByFilename));
  if (request.fileContainingSymbol !== undefined) {
    return fileResponse(files.bySymbol.get(request.fileContainingSymbol));
  }
  // proto3 has no extensions.
  return fileResponse(undefined);
}

function fileResponse(file: Buffer | undefined): Answer {
  if (file !== undefined) return { fileDescriptorResponse: { fileDescriptorProto: [file] } };
  return { errorResponse: { errorCode: status.NOT_FOUND, errorMessage: "Not known here" } };
}
