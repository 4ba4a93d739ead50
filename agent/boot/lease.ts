/**
 * Keeps the lease: renews it at half its life over fresh evidence, and says when it is lost.
 *
 * INVARIANT: `onLost` is called at the latest when the lease ends by the monotonic clock, also while a renewal hangs.
 */
import { SealetError, asSealetError } from "../error.ts";
import type { Clock } from "./clock.ts";
import type { Journal } from "./journal.ts";
import type { HeldLease } from "./machine.ts";
import { RETRY, retryDelay } from "./retry.ts";
import type { Session } from "./session.ts";

export interface KeeperOptions<Renewed extends HeldLease> {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly renew: (leaseId: string, signal: AbortSignal) => Promise<Renewed>;
  readonly onRenewed: (lease: Renewed) => void;
  readonly onLost: (error: SealetError) => void;
  readonly random?: () => number;
}

type Lease = Session["lease"];

/** Milliseconds; also what keeps the waits from becoming ever shorter. */
const SHORTEST_WAIT = 1000;

export class LeaseKeeper<Renewed extends HeldLease> {
  readonly #options: KeeperOptions<Renewed>;
  #stop: AbortController | undefined;

  constructor(options: KeeperOptions<Renewed>) {
    this.#options = options;
  }

  /** From now on this one is kept; one that was kept before is forgotten. */
  hold(lease: Lease): void {
    this.stop();
    const stop = new AbortController();
    this.#stop = stop;
    void this.#keep(lease, stop.signal);
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #keep(held: Lease, signal: AbortSignal): Promise<void> {
    const { clock, journal, onRenewed, onLost, random = Math.random } = this.#options;
    let lease = held;
    try {
      for (;;) {
        // Half its life, give or take a tenth: nodes that booted together need not renew together.
        const rest = lease.heldUntil - clock.monotonic();
        await clock.sleep(Math.max(0, rest - lease.durationMs * (0.4 + 0.2 * random())), signal);
        const renewed = await this.#renew(lease, signal);
        lease = { ...renewed, heldUntil: clock.monotonic() + renewed.remainingMs };
        journal.append({ phase: "lease", kind: "done", message: `Lease ${lease.id} renewed` });
        onRenewed(renewed);
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const error = asSealetError(thrown);
      // acted on first, told then: nothing that hangs or fails in telling may keep the node in service
      onLost(error);
      journal.append({ phase: "lease", kind: "failed", code: error.code, message: error.message });
    }
  }

  /** Asks until the KMS answers, but never beyond the lease's end. */
  async #renew(lease: Lease, stopped: AbortSignal): Promise<Renewed> {
    const { clock, journal, renew, random = Math.random } = this.#options;
    const ended = new AbortController();
    const end = clock.sleep(
      Math.max(0, lease.heldUntil - clock.monotonic()),
      AbortSignal.any([stopped, ended.signal]),
    );
    let last: SealetError | undefined;
    const expiry = end.then(() => {
      ended.abort();
      const why = last === undefined ? "" : `: ${last.message}`;
      throw new SealetError("LEASE_LOST", `Lease ${lease.id} ended before it could be renewed${why}`, {
        cause: last,
      });
    });
    const signal = AbortSignal.any([stopped, ended.signal]);
    const asking = async (): Promise<Renewed> => {
      for (let attempts = 1; ; attempts++) {
        try {
          return await renew(lease.id, signal);
        } catch (thrown) {
          const error = asSealetError(thrown);
          if (signal.aborted || RETRY[error.code] === "never") throw error;
          last = error;
          // The nearer the end, the more often: a KMS that comes back just before it must not be missed.
          const rest = lease.heldUntil - clock.monotonic();
          const delay = Math.min(retryDelay(attempts, random()), Math.max(SHORTEST_WAIT, rest / 4));
          const message = `${error.message}; again in ${(delay / 1000).toFixed(1)} s`;
          journal.append({ phase: "lease", kind: "retried", code: error.code, message });
          await clock.sleep(delay, signal);
        }
      }
    };
    try {
      return await Promise.race([asking(), expiry]);
    } finally {
      ended.abort();
      expiry.catch(() => undefined);
    }
  }
}
