/**
 * grpc.reflection.v1: tools such as grpcurl learn the services from the server. The same for everybody who may call;
 * nothing in it is secret.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import { FILE_DESCRIPTOR_SET } from "./gen/descriptors.ts";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  type ServerReflectionServer,
} from "./gen/reflection.ts";

type Answer = Pick<
  ServerReflectionResponse,
  "fileDescriptorResponse" | "listServicesResponse" | "allExtensionNumbersResponse" | "errorResponse"
>;

/** @param services full names of what this server serves */
export function reflection(services: readonly string[]): ServerReflectionServer {
  const { file: files } = fromBinary(FileDescriptorSetSchema, Buffer.from(FILE_DESCRIPTOR_SET, "base64"));
  const symbols = new Map(files.flatMap((file) => symbolsOf(file).map((symbol) => [symbol, file] as const)));
  const answer = (request: ServerReflectionRequest): Answer => {
    if (request.listServices !== undefined) {
      return { listServicesResponse: { service: services.map((name) => ({ name })) } };
    }
    if (request.fileByFilename !== undefined) {
      return fileResponse(files.find((file) => file.name === request.fileByFilename));
    }
    if (request.fileContainingSymbol !== undefined) {
      return fileResponse(symbols.get(request.fileContainingSymbol));
    }
    // proto3 has no extensions.
    return notFound;
  };
  return {
    serverReflectionInfo: (call) => {
      call.on("data", (request: ServerReflectionRequest) => {
        call.write({ validHost: request.host, originalRequest: request, ...answer(request) });
      });
      call.on("end", () => call.end());
    },
  };
}

function fileResponse(file: FileDescriptorProto | undefined): Answer {
  if (file === undefined) return notFound;
  const bytes = Buffer.from(toBinary(FileDescriptorProtoSchema, file));
  return { fileDescriptorResponse: { fileDescriptorProto: [bytes] } };
}

const notFound: Answer = { errorResponse: { errorCode: status.NOT_FOUND, errorMessage: "Not known here" } };

/** A file's services, their methods, and messages, by full name: what is asked for in practice. */
function symbolsOf(file: FileDescriptorProto): string[] {
  const full = (name: string) => `${file.package}.${name}`;
  const services = file.service.flatMap((service) => [
    full(service.name),
    ...service.method.map((method) => full(`${service.name}.${method.name}`)),
  ]);
  return [...services, ...file.messageType.map((message) => full(message.name))];
}
