/** The Node service: tells what this node is and does. It changes nothing; there is no call that does. */
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import type { Event as BootEvent } from "../boot/journal.ts";
import { SealetError } from "../error.ts";
import type { Disk, Event, Evidence, NodeServer, Status, WatchEventsRequest } from "./gen/sealet.ts";
import { toStatus } from "./status.ts";

export interface NodeView {
  status(): Promise<Status>;
  disk(): Promise<Disk>;
  /** @param nonce 1 to 64 bytes */
  evidence(nonce: Buffer, signal: AbortSignal): Promise<Evidence>;
  readonly events: {
    after(sequence: number): readonly BootEvent[];
    subscribe(listener: (event: BootEvent) => void): () => void;
  };
}

/** A reader that is this far behind is cut off; it may come back with the number of the last event it saw. */
const MAX_BEHIND_BYTES = 1024 * 1024;
const EVIDENCE_TIMEOUT = 60_000;

export function nodeService(view: NodeView): NodeServer {
  return {
    getStatus: unary(() => view.status()),
    getDisk: unary(() => view.disk()),
    getEvidence: unary(async ({ nonce }, signal) => {
      if (nonce.length < 1 || nonce.length > 64) {
        throw new SealetError("REQUEST_INVALID", "The nonce has another length", {
          expected: "1 to 64 bytes",
          found: `${nonce.length} bytes`,
        });
      }
      return view.evidence(nonce, AbortSignal.any([signal, AbortSignal.timeout(EVIDENCE_TIMEOUT)]));
    }),
    watchEvents: (call: ServerWritableStream<WatchEventsRequest, Event>) => watch(view, call),
  };
}

function watch(view: NodeView, call: ServerWritableStream<WatchEventsRequest, Event>): void {
  const { afterSequence, follow } = call.request;
  const gone = new AbortController();
  const send = (event: BootEvent) => {
    call.write(toWire(event));
    if (call.writableLength > MAX_BEHIND_BYTES) {
      gone.abort();
      call.emit("error", toStatus(new SealetError("TIMEOUT", "The reader is too slow")));
    }
  };
  // Both in one turn of the event loop, so nothing falls between what was and what comes.
  for (const event of view.events.after(Number(afterSequence))) send(event);
  if (!follow) {
    call.end();
    return;
  }
  const leave = view.events.subscribe(send);
  gone.signal.addEventListener("abort", leave);
  if (gone.signal.aborted) leave();
  call.on("cancelled", leave);
  call.on("close", leave);
}

function toWire(event: BootEvent): Event {
  return {
    sequence: BigInt(event.sequence),
    timeUnixMs: BigInt(event.timeUnixMs),
    phase: event.phase,
    kind: event.kind,
    durationMs: BigInt(Math.round(event.durationMs)),
    code: event.code ?? "",
    message: event.message,
  };
}

function unary<Request, Response>(
  answer: (request: Request, signal: AbortSignal) => Promise<Response>,
): (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => void {
  const respond = async (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => {
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort(new SealetError("CANCELLED", "The caller went away")));
    let response: Response;
    try {
      response = await answer(call.request, gone.signal);
    } catch (error) {
      callback(toStatus(error));
      return;
    }
    callback(null, response);
  };
  return (call, callback) => void respond(call, callback);
}
