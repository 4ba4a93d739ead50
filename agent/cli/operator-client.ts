/** Calls of the KMS's operator service, on its unix socket. */
import { Client, credentials } from "@grpc/grpc-js";
import { OperatorService } from "../api/gen/sealet.ts";
import { asSealetError } from "../error.ts";
import { type UnaryMethod, call } from "../kms/call.ts";
import { unanswered } from "./unanswered.ts";

const LIMITS = { timeoutMs: 10_000, unreachable: "KMS_UNREACHABLE" } as const;

/** The operator service's methods, for `ask`. */
export const METHOD = OperatorService;

/** @throws KMS_UNREACHABLE, PERMISSION_DENIED, and the KMS's own codes */
export type Ask = <Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
) => Promise<Response>;

export async function withOperator<T>(socket: string, use: (ask: Ask) => Promise<T>): Promise<T> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": 16 * 1024 * 1024,
    "grpc.enable_retries": 0,
  });
  try {
    return await use(async (method, request) => {
      try {
        return await call(client, method, request, LIMITS);
      } catch (error) {
        throw unanswered(asSealetError(error), socket, "'sealet kms serve' does not run");
      }
    });
  } finally {
    client.close();
  }
}
