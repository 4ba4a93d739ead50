/**
 * Equal work that is wanted by several at the same time is done once. Who gives up waiting leaves the others undisturbed;
 * the work is cancelled when nobody waits any more.
 */
import { SealetError } from "../error.ts";

interface Shared<T> {
  readonly controller: AbortController;
  readonly result: Promise<T>;
  waiting: number;
}

export class Coalescer<T> {
  readonly #running = new Map<string, Shared<T>>();

  /** @throws CANCELLED when `signal` is aborted, and what the work throws */
  async join(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal.aborted)
      throw new SealetError("CANCELLED", "Stopped before it began", { cause: signal.reason });
    const shared = this.#running.get(key) ?? this.#begin(key, work);
    shared.waiting++;
    const { promise: cancelled, reject } = Promise.withResolvers<never>();
    const leave = (): void => {
      reject(new SealetError("CANCELLED", "Stopped while waiting for collateral", { cause: signal.reason }));
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([shared.result, cancelled]);
    } finally {
      signal.removeEventListener("abort", leave);
      if (--shared.waiting === 0 && this.#running.get(key) === shared) {
        this.#running.delete(key);
        shared.controller.abort();
      }
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Shared<T> {
    const controller = new AbortController();
    const result = work(controller.signal);
    // nobody may be left to hear of it
    result.catch(() => undefined);
    const shared: Shared<T> = { controller, result, waiting: 0 };
    this.#running.set(key, shared);
    return shared;
  }
}
