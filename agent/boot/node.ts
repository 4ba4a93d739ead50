/**
 * The node from the agent's start to its end: boots it, keeps its lease, locks it when the lease is lost or the boot
 * fails for good, and gives the lease back when the machine goes down.
 *
 * INVARIANTS: a node that failed or is locked runs no kubelet and has no open disk, but goes on explaining itself; a
 * while later its agent ends, so that the next one tries again from the beginning. When only this program stops,
 * everything is left as it is for the next one.
 */
import { type Code, SealetError, asSealetError } from "../error.ts";
import type { Clock } from "./clock.ts";
import type { Event, Journal } from "./journal.ts";
import { LeaseKeeper } from "./lease.ts";
import { type Locked, lock } from "./lock.ts";
import type { Attested, HeldLease, Machine, Unsealed } from "./machine.ts";
import type { PhaseName, PhaseState } from "./phase.ts";
import { Runner } from "./runner.ts";
import { type Facts, bootSequence, heldFrom } from "./sequence.ts";
import type { SessionFile } from "./session.ts";

export type NodeState =
  | { readonly state: "booting" | "serving" | "stopping" }
  | { readonly state: "failed" | "locked"; readonly phase: Event["phase"]; readonly error: SealetError };

export interface NodeOptions<Keys extends Unsealed> {
  readonly machine: Machine<Keys>;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly session: SessionFile;
  readonly until?: PhaseName | undefined;
  readonly onState?: (state: NodeState) => void;
  /** Once, when the node serves. @param signal aborted when it no longer does */
  readonly onServing?: (signal: AbortSignal) => void;
  /** In [0, 1). */
  readonly random?: () => number;
}

/** How long a lost lease waits for the phase that is at work, before it locks regardless. */
const PATIENCE = 10_000;
const RELEASE_TIMEOUT = 5_000;
/** Until a node that failed or is locked tries again: a policy is corrected, a KMS is back. */
const TRY_AGAIN = 60_000;

export class Node<Keys extends Unsealed> {
  readonly #options: NodeOptions<Keys>;
  readonly #runner: Runner;
  readonly #keeper: LeaseKeeper<HeldLease & Attested>;
  readonly #lost = new AbortController();
  readonly #stop: AbortSignal;
  readonly facts: Facts = {};
  #state: NodeState = { state: "booting" };

  /** @param stop aborted when the agent is asked to end */
  constructor(options: NodeOptions<Keys>, stop: AbortSignal) {
    const { machine, journal, clock, session, random } = options;
    this.#options = options;
    this.#stop = stop;
    this.#keeper = new LeaseKeeper({
      clock,
      journal,
      ...(random === undefined ? {} : { random }),
      renew: (id, signal) => machine.keys.renew(id, signal),
      onRenewed: (lease) => this.#renewed(lease),
      onLost: (error) => this.#lost.abort(error),
    });
    const onLease = ({ lease }: { lease: Parameters<LeaseKeeper<HeldLease>["hold"]>[0] }) =>
      this.#keeper.hold(lease);
    const phases = bootSequence({ machine, clock, session, facts: this.facts, onLease });
    const signal = AbortSignal.any([stop, this.#lost.signal]);
    this.#runner = new Runner(phases, { ...options, signal });
  }

  get state(): NodeState {
    return this.#state;
  }

  get phases(): ReadonlyMap<PhaseName, PhaseState> {
    return this.#runner.states;
  }

  /** @returns when the agent is to end; the caller then exits, and whatever started it starts the next one */
  async run(): Promise<void> {
    this.#guardInherited();
    const locked = await this.#bootAndKeep();
    if (locked === "closed" && (await this.#waited())) return;
    await aborted(this.#stop);
    await this.#end();
  }

  /** @returns how it was locked; undefined: it was not, the agent is asked to end */
  async #bootAndKeep(): Promise<Locked | undefined> {
    const boot = this.#runner.run();
    const result = await Promise.race([boot, this.#lostAndPatient()]);
    if (result !== undefined && !this.#lost.signal.aborted) {
      switch (result.end) {
        case "complete":
          this.#enter({ state: "serving" });
          this.#options.onServing?.(AbortSignal.any([this.#stop, this.#lost.signal]));
          break;
        case "until":
          this.#note(`Stopped after ${result.phase}, as asked`);
          break;
        case "failed":
          this.#keeper.stop();
          return this.#lockAs({ state: "failed", phase: result.phase, error: result.error });
        case "cancelled":
          break;
        default:
          result satisfies never;
      }
    }
    await aborted(AbortSignal.any([this.#stop, this.#lost.signal]));
    if (this.#stop.aborted) return undefined;
    const error = asSealetError(this.#lost.signal.reason, "LEASE_LOST");
    if (error.code === "LEASE_LOST") delete this.facts.leaseId;
    return this.#lockAs({ state: "locked", phase: "lease", error });
  }

  /** @returns false if the agent was asked to end before */
  async #waited(): Promise<boolean> {
    this.#note(`Tries again in ${TRY_AGAIN / 1000} s`);
    return this.#options.clock.sleep(TRY_AGAIN, this.#stop).then(
      () => true,
      () => false,
    );
  }

  /**
   * An earlier agent of this boot left a lease, and maybe a kubelet that runs on it. Until the boot sequence has taken it
   * over, which may hang at anything before, its end locks the node all the same.
   */
  #guardInherited(): void {
    const { clock, session } = this.#options;
    const lease = session.read()?.lease;
    if (lease === undefined) return;
    const ended = () => {
      if (this.facts.session !== undefined) return;
      this.#lost.abort(new SealetError("LEASE_LOST", `Lease ${lease.id} of an earlier agent ended`));
    };
    clock.sleep(Math.max(0, lease.heldUntil - clock.monotonic()), this.#stop).then(ended, () => undefined);
  }

  async #lockAs(state: Extract<NodeState, { error: unknown }>): Promise<Locked> {
    // Said first: stopping pods can take a while, and whoever asks should be told why.
    this.#enter(state);
    // Killed while it locks, it leaves a lease behind that has ended: the next agent has nothing to do but lock.
    const { session } = this.#options;
    const left = session.read();
    if (left !== undefined) session.write({ ...left, lease: { ...left.lease, heldUntil: 0 } });
    const locked = await lock(this.#options, true);
    // It will not use the keys: the machine that takes its place need not wait for the lease's end.
    if (locked === "closed") await this.#giveBack();
    return locked;
  }

  async #end(): Promise<void> {
    this.#keeper.stop();
    if (!(await this.#options.machine.goingDown())) {
      this.#note("The agent stops; the machine stays as it is");
      return;
    }
    this.#enter({ state: "stopping" });
    const locked: Locked = await lock(this.#options, false);
    if (locked === "closed") await this.#giveBack();
    // Another machine must not get the keys while this one may still write.
    else this.#note("The lease is not given back, since the disk is still open");
  }

  /** INVARIANT: only after the disk was closed. */
  async #giveBack(): Promise<void> {
    const { machine, session } = this.#options;
    const { leaseId } = this.facts;
    session.remove();
    if (leaseId === undefined) return;
    delete this.facts.leaseId;
    delete this.facts.session;
    try {
      await machine.keys.release(leaseId, AbortSignal.timeout(RELEASE_TIMEOUT));
      this.#note(`Lease ${leaseId} given back`);
    } catch (thrown) {
      const { code, message } = asSealetError(thrown);
      this.#note(`Lease ${leaseId} not given back: ${message}`, code);
    }
  }

  #renewed(lease: HeldLease & Attested): void {
    const { clock, session } = this.#options;
    const before = this.facts.session;
    if (before === undefined) return;
    const now = { ...before, ...heldFrom(lease, clock), evidenceSha256: lease.evidenceSha256 };
    session.write(now);
    this.facts.session = now;
  }

  async #lostAndPatient(): Promise<undefined> {
    await aborted(this.#lost.signal);
    await this.#options.clock.sleep(PATIENCE, this.#stop).catch(() => undefined);
    return undefined;
  }

  #enter(state: NodeState): void {
    this.#state = state;
    const message = "error" in state ? `${state.state}: ${state.error.message}` : state.state;
    this.#note(message, "error" in state ? state.error.code : undefined);
    this.#options.onState?.(state);
  }

  #note(message: string, code?: Code): void {
    this.#options.journal.append({ phase: "agent", kind: "note", message, ...(code && { code }) });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
