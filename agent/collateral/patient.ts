/**
 * Patience with a service: requests keep a distance, and what may heal is repeated with exponential backoff and full
 * jitter, a bounded number of times.
 */
import { setTimeout as delay } from "node:timers/promises";
import { SealetError } from "../error.ts";
import type { Answer, Get } from "./http.ts";

export interface Patience {
  /** Between the beginnings of two requests to one host; AMD allows about one in 10 s. */
  readonly spacingMs: number;
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
}

const PATIENCE: Patience = { spacingMs: 0, attempts: 5, firstDelayMs: 500, longestDelayMs: 60_000 };

export interface Time {
  /** ms, of any origin. */
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** In [0, 1). */
  readonly random: () => number;
}

export const systemTime: Time = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(ms, undefined, { signal });
    } catch (cause) {
      throw new SealetError("CANCELLED", "Stopped while waiting for a collateral service", { cause });
    }
  },
  random: Math.random,
};

/** A `Get` that answers with status 200 or 404 only. */
export function patient(get: Get, patience: Partial<Patience> = {}, time: Time = systemTime): Get {
  const { spacingMs, attempts, firstDelayMs, longestDelayMs } = { ...PATIENCE, ...patience };
  const nextStart = new Map<string, number>();

  async function spaced(url: URL, signal: AbortSignal): Promise<Answer> {
    const now = time.now();
    const start = Math.max(now, nextStart.get(url.host) ?? now);
    nextStart.set(url.host, start + spacingMs);
    if (start > now) await time.sleep(start - now, signal);
    return get(url, signal);
  }

  async function repeated(url: URL, signal: AbortSignal): Promise<Answer> {
    let last: SealetError | undefined;
    for (let attempt = 0; attempt < attempts; attempt++) {
      let wait = time.random() * Math.min(longestDelayMs, firstDelayMs * 2 ** attempt);
      try {
        const answer = await spaced(url, signal);
        if (answer.status === 200 || answer.status === 404) return answer;
        last = new SealetError(
          "COLLATERAL_UNAVAILABLE",
          `${url.host} answered ${answer.status} for ${url.pathname}`,
        );
        if (answer.status !== 429 && answer.status < 500) throw last;
        wait = Math.max(wait, retryAfter(answer, longestDelayMs));
      } catch (thrown) {
        if (!(thrown instanceof SealetError) || thrown === last) throw thrown;
        if (thrown.code !== "COLLATERAL_UNAVAILABLE" && thrown.code !== "TIMEOUT") throw thrown;
        last = thrown;
      }
      if (attempt + 1 < attempts) await time.sleep(wait, signal);
    }
    throw last ?? new SealetError("COLLATERAL_UNAVAILABLE", `${url.host} was not asked`);
  }

  return repeated;
}

/** Seconds, as services send it; a date is not read. */
function retryAfter({ headers }: Answer, longest: number): number {
  const seconds = Number(headers["retry-after"] ?? "0");
  return Number.isFinite(seconds) ? Math.min(longest, Math.max(0, 1000 * seconds)) : 0;
}
