/** Calls of this machine's agent, on its unix socket. */
import { Client, type ServiceError, credentials } from "@grpc/grpc-js";
import { type Event, NodeService } from "../api/gen/sealet.ts";
import { fromStatus, isOurs } from "../api/status.ts";
import { SealetError, asSealetError } from "../error.ts";
import { type UnaryMethod, call } from "../kms/call.ts";

export const METHOD = NodeService;

/** @throws SERVICE_FAILED where no agent answers, and the agent's own codes */
export async function askAgent<Request, Response>(
  socket: string,
  method: UnaryMethod<Request, Response>,
  request: Request,
  timeoutMs = 10_000,
): Promise<Response> {
  using client = new AgentClient(socket);
  try {
    return await call(client, method, request, { timeoutMs, unreachable: "NOT_SERVING" });
  } catch (error) {
    throw named(error, socket);
  }
}

/** Each event, until the agent or the signal ends it. @throws SERVICE_FAILED */
export async function* watchAgent(
  socket: string,
  request: { readonly afterSequence: bigint; readonly follow: boolean },
  signal: AbortSignal,
): AsyncGenerator<Event> {
  using client = new AgentClient(socket);
  const { path, requestSerialize, responseDeserialize } = NodeService.watchEvents;
  const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
  const cancel = () => stream.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    yield* stream as AsyncIterable<Event>;
  } catch (error) {
    if (!signal.aborted)
      throw named(isServiceError(error) ? fromStatus(error, "NOT_SERVING") : error, socket);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

class AgentClient extends Client implements Disposable {
  constructor(socket: string) {
    super(`unix:${socket}`, credentials.createInsecure(), { "grpc.enable_retries": 0 });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && "details" in error;
}

/** gRPC's words for a socket that is not there say nothing to a person; what an agent says itself goes through. */
function named(thrown: unknown, socket: string): SealetError {
  const error = asSealetError(thrown);
  const { cause } = error;
  if (error.code !== "NOT_SERVING" || (isServiceError(cause) && isOurs(cause))) return error;
  return new SealetError("SERVICE_FAILED", `No agent answers at ${socket}: sealet.service does not run`, {
    cause,
  });
}
