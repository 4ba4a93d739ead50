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
  /** @see random(4), boot_id */
  readonly bootId: string;
  readonly events: {
    after(sequence: number): readonly BootEvent[];
    subscribe(listener: () => void): () => void;
  };
}

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

/**
 * As fast as the reader reads: nothing waits for it here but in the journal, whose oldest events go first. What it missed
 * so shows as a gap in the numbers.
 */
function watch({ bootId, events }: NodeView, call: ServerWritableStream<WatchEventsRequest, Event>): void {
  const { afterSequence, follow, bootId: boot } = call.request;
  let last = boot === "" || boot === bootId ? Number(afterSequence) : 0;
  let full = false;
  const send = () => {
    if (full) return;
    for (const event of events.after(last)) {
      last = event.sequence;
      full = !call.write(toWire(event, bootId));
      if (full) return;
    }
    if (!follow) call.end();
  };
  call.on("drain", () => {
    full = false;
    send();
  });
  if (follow) {
    const leave = events.subscribe(send);
    call.on("cancelled", leave);
    call.on("close", leave);
  }
  send();
}

function toWire(event: BootEvent, bootId: string): Event {
  return {
    sequence: BigInt(event.sequence),
    timeUnixMs: BigInt(event.timeUnixMs),
    phase: event.phase,
    kind: event.kind,
    durationMs: BigInt(Math.round(event.durationMs)),
    code: event.code ?? "",
    message: event.message,
    bootId,
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
