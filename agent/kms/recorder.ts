/**
 * Answers and decisions, with their audit entries. INVARIANT (I7): a decision is durable with its entry before it is
 * known to the caller, and a refusal's entry before it leaves; where that can't be had, AUDIT_FAILED leaves instead.
 */
import { type Code, type SealetError, asSealetError } from "../error.ts";
import type { AuditAction } from "./audit.ts";
import type { Peer } from "./peer.ts";
import { type NodeRecord, isLive } from "./record.ts";
import type { State, Store } from "./store.ts";
import { type Share, Throttle } from "./throttle.ts";

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

/** A sender's own words stand in a refusal: an entry holds this much of each. */
const MAX_WORDS = 1024;

const cut = (words: string | undefined) => words?.slice(0, MAX_WORDS);

/** What an entry says of an error. */
export function wordsOf({ message, predicate, expected, found }: SealetError) {
  return { message: cut(message), predicate, expected: cut(expected), found: cut(found) };
}

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
  async answer<T>(
    request: string,
    peer: Peer,
    handle: (trace: Trace, share: Share) => Promise<T>,
  ): Promise<T> {
    const share = await this.#shareOf(peer);
    this.#throttle.admit(share, this.#now());
    const trace: Trace = { request, node: "", detail: { peer: peer.address, holder: peer.holder } };
    try {
      return await handle(trace, share);
    } catch (thrown) {
      const error = asSealetError(thrown);
      this.#throttle.refused(share, this.#now());
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

  /** The TLS key was proven in the handshake. Where the store fails, the request itself will meet that, and say so. */
  async #shareOf({ holder, group }: Peer): Promise<Share> {
    const record = await this.#store.readHeldBy(holder).catch(() => undefined);
    const leased = record !== undefined && isLive(record.lease, this.#now());
    return { name: leased ? `lease ${holder}` : group, leased };
  }

  #refusal({ request, node, detail }: Trace, error: SealetError): Promise<void> {
    return this.#store.audit({
      action: "refusal",
      node,
      code: error.code,
      detail: { request, ...detail, ...wordsOf(error) },
    });
  }
}
