/** Calls of the KMS's operator service, on its unix socket. */
import { Client, credentials } from "@grpc/grpc-js";
import { OperatorService } from "../api/gen/sealet.ts";
import { type UnaryMethod, call } from "../kms/call.ts";

const LIMITS = { timeoutMs: 10_000, unreachable: "KMS_UNREACHABLE" } as const;

/** The operator service's methods, for `ask`. */
export const METHOD = OperatorService;

/** @throws KMS_UNREACHABLE, and the KMS's own codes */
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
    return await use((method, request) => call(client, method, request, LIMITS));
  } finally {
    client.close();
  }
}
