/**
 * Answers and decisions, with their audit entries. INVARIANT (I7): a decision is durable with its entry before it is
 * known to the caller, and a refusal's entry before it leaves; where that can't be had, AUDIT_FAILED leaves instead.
 */
import { type Code, type SealetError, asSealetError } from "../error.ts";
import type { AuditAction } from "./audit.ts";
import type { Peer } from "./peer.ts";
import type { NodeRecord } from "./record.ts";
import type { State, Store } from "./store.ts";
import { Throttle } from "./throttle.ts";

/** What is known of a request so far; every entry of it says so. */
export interface Trace {
  readonly request: string;
  node: string;
  readonly detail: Record<string, unknown>;
}

interface Decided<T> {
  readonly action: AuditAction;
  readonly value: T;
  readonly record?: NodeRecord;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Pure; a refusal is thrown. */
export type Decide<T> = (state: State, now: number) => Decided<T>;

/** No room to decide anything, or to write it down: not the audit log's business. */
const UNDECIDED: ReadonlySet<Code> = new Set<Code>(["KMS_BUSY", "AUDIT_FAILED"]);

export class Recorder {
  readonly #store: Store;
  readonly #throttle: Throttle;
  readonly #now: () => number;

  constructor(store: Store, refusalsPerMinute: number, now: () => number) {
    this.#store = store;
    this.#throttle = new Throttle(refusalsPerMinute);
    this.#now = now;
  }

  /** @throws what `handle` throws, as a SealetError */
  async answer<T>(request: string, peer: Peer, handle: (trace: Trace) => Promise<T>): Promise<T> {
    this.#throttle.admit(peer.group, this.#now());
    const trace: Trace = { request, node: "", detail: { peer: peer.address, holder: peer.holder } };
    try {
      return await handle(trace);
    } catch (thrown) {
      const error = asSealetError(thrown);
      this.#throttle.refused(peer.group, this.#now());
      if (!UNDECIDED.has(error.code)) await this.#refusal(trace, error);
      throw error;
    }
  }

  decide<T>(name: string, trace: Trace, decide: Decide<T>): Promise<T> {
    return this.#store.decide(name, (state) => {
      const { action, detail, ...outcome } = decide(state, this.#now());
      return {
        ...outcome,
        audit: { action, node: name, code: "OK", detail: { ...trace.detail, ...detail } },
      };
    });
  }

  #refusal({ request, node, detail }: Trace, error: SealetError): Promise<void> {
    const { code, message, predicate, expected, found } = error;
    return this.#store.audit({
      action: "refusal",
      node,
      code,
      detail: { request, ...detail, message, predicate, expected, found },
    });
  }
}
