/**
 * One request at a time to a TEE's device. Platforms limit how often evidence is given, and on SEV-SNP a limit that is
 * exceeded for a minute closes the channel for good: so requests keep a distance, and more than a few are turned away
 * here instead of there.
 */
import { SealetError } from "../error.ts";

const MAX_WAITING = 32;

export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  sleep(milliseconds: number): Promise<void>;
}

const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};

export class RequestQueue {
  readonly #spacing: number;
  readonly #clock: Clock;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #notBefore = Number.NEGATIVE_INFINITY;

  /** @param spacing milliseconds between the end of a request and the begin of the next */
  constructor(spacing: number, clock: Clock = systemClock) {
    this.#spacing = spacing;
    this.#clock = clock;
  }

  /**
   * Runs the request when its turn comes. A caller that gives up leaves its turn if it still waits; a request that has
   * begun goes on without it, and the next one waits for its end.
   * @throws CANCELLED, EVIDENCE_THROTTLED where too many wait
   */
  async run<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) throw cancelled(signal);
    if (this.#waiting >= MAX_WAITING)
      throw new SealetError("EVIDENCE_THROTTLED", `${this.#waiting} requests for evidence wait already`);
    this.#waiting++;
    const turn = this.#last.then(async () => {
      try {
        if (signal.aborted) throw cancelled(signal);
        const pause = this.#notBefore - this.#clock.now();
        if (pause > 0) await this.#clock.sleep(pause);
        if (signal.aborted) throw cancelled(signal);
        try {
          return await request();
        } finally {
          this.#notBefore = this.#clock.now() + this.#spacing;
        }
      } finally {
        this.#waiting--;
      }
    });
    this.#last = turn.then(
      () => undefined,
      () => undefined,
    );
    return untilAborted(turn, signal);
  }
}

function cancelled(signal: AbortSignal): SealetError {
  return new SealetError("CANCELLED", "The request for evidence was given up", { cause: signal.reason });
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    reject(cancelled(signal));
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
