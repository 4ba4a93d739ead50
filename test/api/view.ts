/** What the API's tests serve, and how they ask. */
import type { ServiceError } from "@grpc/grpc-js";
import type { Disk, Evidence, NodeClient, Status } from "../../agent/api/gen/sealet.ts";
import type { NodeView } from "../../agent/api/node-service.ts";
import { fromStatus } from "../../agent/api/status.ts";
import { statusOf } from "../../agent/api/status-view.ts";
import { Journal } from "../../agent/boot/journal.ts";
import { SealetError } from "../../agent/error.ts";
import { VirtualClock } from "../boot/virtual-clock.ts";

const clock = new VirtualClock();

/** Knows who listens to it. */
class WatchedJournal extends Journal {
  readonly readers = new Set<unknown>();
  override subscribe(...[listener]: Parameters<Journal["subscribe"]>): () => void {
    const leave = super.subscribe(listener);
    this.readers.add(listener);
    return () => {
      this.readers.delete(listener);
      leave();
    };
  }
}

/** What is served. */
export class View implements NodeView {
  readonly bootId = "boot-2";
  readonly events = new WatchedJournal(clock);
  readonly asked: Buffer[] = [];
  /** Of the last request for evidence; where a test sets `slow` that has no end. */
  signal: AbortSignal | undefined;
  slow = false;
  status(): Promise<Status> {
    const node = { state: { state: "booting" }, phases: new Map(), facts: {} } as const;
    return Promise.resolve(statusOf(node, clock, undefined, undefined));
  }
  disk(): Promise<Disk> {
    return Promise.reject(
      new SealetError("DISK_MISSING", "No disk", { expected: "serial state", found: "none" }),
    );
  }
  evidence(nonce: Buffer, signal: AbortSignal): Promise<Evidence> {
    this.asked.push(nonce);
    this.signal = signal;
    if (this.slow) return new Promise(() => undefined);
    const empty = Buffer.alloc(0);
    return Promise.resolve({
      tee: "sev-snp",
      report: Buffer.from("report"),
      auxiliary: empty,
      eventLog: empty,
    });
  }
}

type Done<Response> = (error: ServiceError | null, response: Response) => void;
export const ask = <Response>(call: (done: Done<Response>) => unknown): Promise<Response> =>
  new Promise((resolve, reject) => {
    call((error, response) =>
      error === null ? resolve(response) : reject(fromStatus(error, "NOT_SERVING")),
    );
  });
export const getStatus = (client: NodeClient) => ask<Status>((done) => client.getStatus({}, done));
