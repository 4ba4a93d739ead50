/** Calls of an agent: on this machine's unix socket, or over mutual TLS. */
import { Client, credentials } from "@grpc/grpc-js";
import { type Event, NodeService } from "../api/gen/sealet.ts";
import { fromStatus, isOurs, isServiceError } from "../api/status.ts";
import { SealetError, asSealetError } from "../error.ts";
import { type UnaryMethod, call } from "../kms/call.ts";
import type { AgentAddress } from "./agent-address.ts";
import { readFile } from "./files.ts";

export const METHOD = NodeService;

/** @throws SERVICE_FAILED where no agent answers, and the agent's own codes */
export async function askAgent<Request, Response>(
  address: AgentAddress,
  method: UnaryMethod<Request, Response>,
  request: Request,
  timeoutMs = 10_000,
): Promise<Response> {
  using client = new AgentClient(address);
  try {
    return await call(client, method, request, { timeoutMs, unreachable: "NOT_SERVING" });
  } catch (error) {
    throw named(error, address);
  }
}

/** Each event, until the agent or the signal ends it. @throws SERVICE_FAILED */
export async function* watchAgent(
  address: AgentAddress,
  request: { readonly afterSequence: bigint; readonly follow: boolean },
  signal: AbortSignal,
): AsyncGenerator<Event> {
  using client = new AgentClient(address);
  const { path, requestSerialize, responseDeserialize } = NodeService.watchEvents;
  const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
  const cancel = () => stream.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    yield* stream as AsyncIterable<Event>;
  } catch (error) {
    if (!signal.aborted)
      throw named(isServiceError(error) ? fromStatus(error, "NOT_SERVING") : error, address);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

class AgentClient extends Client implements Disposable {
  constructor(address: AgentAddress) {
    const options = { "grpc.enable_retries": 0, "grpc.enable_http_proxy": 0 };
    if ("socket" in address) super(`unix:${address.socket}`, credentials.createInsecure(), options);
    else {
      const tls = credentials.createSsl(readFile(address.ca), readFile(address.key), readFile(address.cert));
      super(address.endpoint, tls, { ...options, "grpc.ssl_target_name_override": address.node });
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** gRPC's words for nobody there say nothing to a person; what an agent says itself goes through. */
function named(thrown: unknown, address: AgentAddress): SealetError {
  const error = asSealetError(thrown);
  const { cause } = error;
  if (error.code !== "NOT_SERVING" || (isServiceError(cause) && isOurs(cause))) return error;
  const why =
    "socket" in address
      ? `${address.socket}: sealet.service does not run`
      : `${address.endpoint} as ${address.node}: ${error.message}`;
  return new SealetError("SERVICE_FAILED", `No agent answers at ${why}`, { cause });
}
