/** Time as the boot sequence needs it, behind an interface so that a test can hold it still. */
import { setTimeout as delay } from "node:timers/promises";
import { SealetError } from "../error.ts";

export interface Clock {
  /**
   * Milliseconds since the machine started: never set back, not even by whoever owns the network's time, and the same
   * for the next agent of this boot. Durations and deadlines are measured with it.
   */
  monotonic(): number;
  /** Unix time in milliseconds, for people only. */
  wall(): number;
  /** @throws CANCELLED as soon as the signal is aborted */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  // CLOCK_MONOTONIC, which counts from the start of the machine, not of this process.
  monotonic: () => Number(process.hrtime.bigint() / 1_000_000n),
  wall: () => Date.now(),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, { signal });
    } catch (cause) {
      throw new SealetError("CANCELLED", "Stopped while waiting", { cause });
    }
  },
};
