/**
 * Runs the phases in their order. Each ends in an event: done, skipped or failed; each failure that may heal in one
 * that says when it is tried again.
 *
 * INVARIANTS: no phase starts unless the ones before it ended well and the ones it needs are done. There is never more
 * than one attempt at work: a phase that does not heed its timeout is waited for, not raced.
 */
import { SealetError, asSealetError } from "../error.ts";
import type { Clock } from "./clock.ts";
import type { Journal } from "./journal.ts";
import {
  type Attempt,
  type BootResult,
  PHASES,
  type Phase,
  type PhaseName,
  type PhaseState,
} from "./phase.ts";
import { mayRetry, retryDelay } from "./retry.ts";

export interface RunnerOptions {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly until?: PhaseName | undefined;
  /** In [0, 1). */
  readonly random?: () => number;
}

export class Runner {
  readonly #phases: readonly Phase[];
  readonly #options: RunnerOptions;
  readonly #states = new Map<PhaseName, PhaseState>(PHASES.map((name) => [name, { state: "pending" }]));

  constructor(phases: readonly Phase[], options: RunnerOptions) {
    this.#phases = phases;
    this.#options = options;
  }

  get states(): ReadonlyMap<PhaseName, PhaseState> {
    return this.#states;
  }

  async run(): Promise<BootResult> {
    for (const phase of this.#phases) {
      const result = await this.#runPhase(phase);
      if (result !== undefined) return result;
      if (phase.name === this.#options.until) return { end: "until", phase: phase.name };
    }
    return { end: "complete" };
  }

  /** @returns how the whole sequence ends, or nothing if it goes on */
  async #runPhase(phase: Phase): Promise<BootResult | undefined> {
    const { journal, clock, signal, random = Math.random } = this.#options;
    const since = clock.monotonic();
    const durationMs = () => clock.monotonic() - since;
    let last: SealetError | undefined;
    for (let attempts = 1; ; attempts++) {
      if (signal.aborted) return { end: "cancelled", phase: phase.name };
      // While it is tried again, why it did not work before is still what a person wants to know.
      this.#states.set(
        phase.name,
        last === undefined
          ? { state: "running", since, attempts }
          : { state: "retrying", since, attempts, error: last },
      );
      if (attempts === 1) journal.append({ phase: phase.name, kind: "started", message: "" });
      try {
        this.#demandNeeds(phase);
        const outcome = await this.#attempt(phase, attempts);
        const [state, detail] =
          "done" in outcome ? (["done", outcome.done] as const) : (["skipped", outcome.skipped] as const);
        this.#states.set(phase.name, { state, durationMs: durationMs(), attempts, detail });
        journal.append({ phase: phase.name, kind: state, durationMs: durationMs(), message: detail });
        return undefined;
      } catch (thrown) {
        if (signal.aborted) return { end: "cancelled", phase: phase.name };
        const error = asSealetError(thrown);
        last = error;
        const { code, message } = error;
        if (!mayRetry(code, phase.retry, attempts)) {
          this.#states.set(phase.name, { state: "failed", durationMs: durationMs(), attempts, error });
          journal.append({ phase: phase.name, kind: "failed", durationMs: durationMs(), code, message });
          return { end: "failed", phase: phase.name, error };
        }
        const delay = retryDelay(attempts, random());
        this.#states.set(phase.name, { state: "retrying", since, attempts, error });
        const again = `${message}; again in ${(delay / 1000).toFixed(1)} s`;
        journal.append({
          phase: phase.name,
          kind: "retried",
          durationMs: durationMs(),
          code,
          message: again,
        });
        // Only a stop ends the wait early; the loop's head sees it.
        await clock.sleep(delay, signal).catch(() => undefined);
      }
    }
  }

  #demandNeeds(phase: Phase): void {
    for (const need of phase.needs) {
      const { state } = this.#states.get(need) ?? { state: "pending" };
      if (state !== "done") {
        throw new SealetError("INTERNAL", `Phase ${phase.name} needs ${need}, which is ${state}`);
      }
    }
  }

  async #attempt(phase: Phase, number: number): Promise<ReturnType<Phase["run"]>> {
    const { journal, clock, signal } = this.#options;
    const overdue = new AbortController();
    const ended = new AbortController();
    const timeout = new SealetError(
      "TIMEOUT",
      `Phase ${phase.name} took longer than ${phase.timeout / 1000} s`,
    );
    const onTimeout = () => {
      journal.append({ phase: phase.name, kind: "note", code: "TIMEOUT", message: timeout.message });
      overdue.abort(timeout);
    };
    clock.sleep(phase.timeout, ended.signal).then(onTimeout, () => undefined);
    const attempt: Attempt = {
      number,
      signal: AbortSignal.any([signal, overdue.signal]),
      note: (message) => journal.append({ phase: phase.name, kind: "note", message }),
    };
    try {
      return await phase.run(attempt);
    } catch (thrown) {
      // What an aborted call throws (AbortError, CANCELLED) says nothing: the timeout does.
      const named = thrown instanceof SealetError && thrown.code !== "CANCELLED";
      throw overdue.signal.aborted && !named
        ? new SealetError("TIMEOUT", timeout.message, { cause: thrown })
        : thrown;
    } finally {
      ended.abort();
    }
  }
}
