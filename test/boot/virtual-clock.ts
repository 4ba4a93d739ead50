/** Time that goes on only when everybody waits, and then at once. */
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../agent/boot/clock.ts";
import { SealetError } from "../../agent/error.ts";

/** Real milliseconds in which a program that does not sleep has to do something. */
const PATIENCE = 20_000;

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

export class VirtualClock implements Clock {
  now = 1_000_000;
  /** How long each sleep was asked to be. */
  readonly sleeps: number[] = [];
  #sleepers: Sleeper[] = [];

  monotonic(): number {
    return this.now;
  }

  wall(): number {
    return 1_700_000_000_000 + this.now;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    return new Promise((resolve, reject) => {
      const cancel = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(new SealetError("CANCELLED", "Stopped while waiting"));
      };
      const sleeper = {
        at: this.now + ms,
        wake: () => {
          signal.removeEventListener("abort", cancel);
          resolve();
        },
      };
      if (signal.aborted) return cancel();
      this.#sleepers.push(sleeper);
      signal.addEventListener("abort", cancel, { once: true });
    });
  }

  /** A program's view of the clock, which ends with the program: after `kill` none of its sleepers wakes. */
  forProgram(): Clock & { kill(): void } {
    let killed = false;
    const never = new Promise<never>(() => undefined);
    return {
      monotonic: () => this.now,
      wall: () => this.wall(),
      sleep: async (ms, signal) => {
        await this.sleep(ms, signal);
        if (killed) await never;
      },
      kill: () => (killed = true),
    };
  }

  /** Lets time pass until this holds. @param limit virtual milliseconds after which the test fails */
  async until(condition: () => boolean, limit = 24 * 3600_000): Promise<void> {
    const end = this.now + limit;
    let idleSince = performance.now();
    while (!condition()) {
      for (let i = 0; i < 3; i++) await turn();
      if (condition()) return;
      const next = this.#sleepers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) {
        if (performance.now() - idleSince > PATIENCE)
          throw new Error("Nobody sleeps, and it does not come to pass");
        continue;
      }
      idleSince = performance.now();
      if (next.at > end) throw new Error(`It did not come to pass within ${limit} ms`);
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      this.now = Math.max(this.now, next.at);
      next.wake();
    }
  }

  /** Lets this much time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    let over = false;
    const never = new AbortController();
    void this.sleep(ms, never.signal).then(() => (over = true));
    await this.until(() => over || this.now > end);
  }
}
