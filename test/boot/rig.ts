/** Agents over a machine in memory, in a time of their own: it, its /run and the time outlive each of them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal } from "../../agent/boot/journal.ts";
import { Node, type NodeState } from "../../agent/boot/node.ts";
import type { PhaseName } from "../../agent/boot/phase.ts";
import { SessionFile } from "../../agent/boot/session.ts";
import { FakeMachine } from "./fake-machine.ts";
import { VirtualClock } from "./virtual-clock.ts";

export class Rig implements Disposable {
  readonly machine = new FakeMachine();
  readonly clock = new VirtualClock();
  readonly run = mkdtempSync(join(tmpdir(), "sealet-boot-"));
  readonly session = new SessionFile(join(this.run, "session.json"));

  start(until?: PhaseName, onServing?: (signal: AbortSignal) => void): Agent {
    return new Agent(this, until, onServing);
  }

  async serving(): Promise<Agent> {
    const agent = this.start();
    await agent.until("serving");
    return agent;
  }

  [Symbol.dispose](): void {
    rmSync(this.run, { recursive: true });
  }
}

export class Agent {
  readonly journal: Journal;
  readonly node: Node<Parameters<FakeMachine["disk"]["unseal"]>[0]>;
  readonly #clock: VirtualClock;
  readonly #program: ReturnType<VirtualClock["forProgram"]>;
  readonly #stop = new AbortController();
  #over = false;

  constructor(
    { machine, clock, run, session }: Rig,
    until: PhaseName | undefined,
    onServing: ((signal: AbortSignal) => void) | undefined,
  ) {
    this.#clock = clock;
    this.#program = clock.forProgram();
    this.journal = new Journal(this.#program, join(run, "events.jsonl"));
    const options = {
      machine,
      journal: this.journal,
      clock: this.#program,
      session,
      until,
      random: () => 0.5,
    };
    this.node = new Node({ ...options, ...(onServing && { onServing }) }, this.#stop.signal);
    void this.node.run().then(() => (this.#over = true));
  }

  /** It ended, by itself or asked to. */
  readonly over = (): boolean => this.#over;

  /** @param limit virtual milliseconds */
  until(state: NodeState["state"], limit?: number): Promise<void> {
    return this.#clock.until(() => this.node.state.state === state, limit);
  }

  /** Of a phase's events. */
  kinds(phase: string): readonly string[] {
    return this.journal.after(0).flatMap((event) => (event.phase === phase ? [event.kind] : []));
  }

  /** It is asked to end, and has. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#clock.until(this.over);
  }

  /** SIGKILL: nothing of it runs any more. */
  kill(): void {
    this.#program.kill();
  }
}
