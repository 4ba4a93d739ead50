/** Calls of an agent: on this machine's unix socket, or over mutual TLS. */
import { Client, credentials } from "@grpc/grpc-js";
import { type Event, NodeService, type WatchEventsRequest } from "../api/gen/sealet.ts";
import { fromStatus, isServiceError } from "../api/status.ts";
import { type SealetError, asSealetError } from "../error.ts";
import { type UnaryMethod, call } from "../kms/call.ts";
import type { AgentAddress } from "./agent-address.ts";
import { readFile } from "./files.ts";
import { unanswered } from "./unanswered.ts";

export const METHOD = NodeService;

/** @throws SERVICE_FAILED where no agent answers, PERMISSION_DENIED, and the agent's own codes */
export async function askAgent<Request, Response>(
  address: AgentAddress,
  method: UnaryMethod<Request, Response>,
  request: Request,
  timeoutMs = 10_000,
): Promise<Response> {
  using client = new AgentClient(address);
  try {
    return await call(client, method, request, { timeoutMs, unreachable: "SERVICE_FAILED" });
  } catch (error) {
    throw named(error, address);
  }
}

/** Each event, until the agent or the signal ends it. @throws as `askAgent` */
export async function* watchAgent(
  address: AgentAddress,
  request: WatchEventsRequest,
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
      throw named(isServiceError(error) ? fromStatus(error, "SERVICE_FAILED") : error, address);
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

function named(thrown: unknown, address: AgentAddress): SealetError {
  const where = "socket" in address ? address.socket : `${address.endpoint} as ${address.node}`;
  return unanswered(asSealetError(thrown), where, "sealet.service does not run");
}
