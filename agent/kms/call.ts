/**
 * One unary gRPC call as a promise that heeds an AbortSignal and a time limit, and fails with a `SealetError`.
 */
import type { CallOptions, ClientUnaryCall, Metadata, ServiceError } from "@grpc/grpc-js";
import { Metadata as EmptyMetadata } from "@grpc/grpc-js";
import { SealetError } from "../error.ts";
import { fromStatus } from "../api/status.ts";
import type { Code } from "../error.ts";

type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

export interface CallLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The code for "nobody answered". */
  readonly unreachable: Code;
}

/** @param method bound to its client */
export function call<Request, Response>(
  method: Unary<Request, Response>,
  request: Request,
  { timeoutMs, signal, unreachable }: CallLimits,
): Promise<Response> {
  if (signal?.aborted === true) return Promise.reject(cancelled(signal));
  return new Promise((resolve, reject) => {
    const abort = () => running.cancel();
    const options = { deadline: Date.now() + timeoutMs };
    const running = method(request, new EmptyMetadata(), options, (error, response) => {
      signal?.removeEventListener("abort", abort);
      if (error === null) resolve(response);
      else reject(signal?.aborted === true ? cancelled(signal) : fromStatus(error, unreachable));
    });
    signal?.addEventListener("abort", abort, { once: true });
  });
}

function cancelled(signal: AbortSignal): SealetError {
  return new SealetError("CANCELLED", "The call was cancelled", { cause: signal.reason });
}
