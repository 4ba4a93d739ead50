/** One unary gRPC call as a promise that heeds an AbortSignal and a time limit, and fails with a `SealetError`. */
import { type Client, Metadata } from "@grpc/grpc-js";
import { fromStatus } from "../api/status.ts";
import { type Code, SealetError } from "../error.ts";

/** A method of a generated service definition. */
export interface UnaryMethod<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

export interface CallLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The code for "nobody answered". */
  readonly unreachable: Code;
}

export function call<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
  { timeoutMs, signal, unreachable }: CallLimits,
): Promise<Response> {
  if (signal?.aborted === true) return Promise.reject(cancelled(signal));
  return new Promise((resolve, reject) => {
    const abort = () => running.cancel();
    const { path, requestSerialize, responseDeserialize } = method;
    const running = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        signal?.removeEventListener("abort", abort);
        if (response !== undefined && error === null) resolve(response);
        else if (signal?.aborted === true) reject(cancelled(signal));
        else
          reject(
            error === null ? new SealetError("REQUEST_INVALID", "No answer") : fromStatus(error, unreachable),
          );
      },
    );
    signal?.addEventListener("abort", abort, { once: true });
  });
}

export function cancelled(signal: AbortSignal): SealetError {
  return new SealetError("CANCELLED", "The call was cancelled", { cause: signal.reason });
}
