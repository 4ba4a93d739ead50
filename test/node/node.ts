/**
 * A whole node as a user-mode Linux guest: systemd with the node image's units, the release executable, Kubernetes and
 * its runtime, a twin that serves the TEE's device files, the disks `initdata` and `state`. What no test may do to a real
 * node is done from outside: cut its power, change its disk, look inside by scripts.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { MEASUREMENT } from "../attest/snp/policies.ts";
import type { TwinConfigFile } from "../twin/config.ts";
import type { Enrolled } from "./lab.ts";
import { startGuest, type Guest, type GuestEnd } from "../uml/guest.ts";
import { openTap } from "../uml/tap.ts";
import { Channel, type Ran } from "./channel.ts";
import {
  EVENTS_FILE,
  inGuest,
  initScript,
  programs,
  shares,
  stageRoot,
  type RootOptions,
  type Unit,
} from "./root.ts";
import { eventSchema, statusSchema, type Event, type Status } from "./status.ts";

export interface NodeOptions {
  readonly enrolled: Enrolled;
  /** The disk's file; two nodes that run at once can't have the same. */
  readonly stateDisk: string;
  /** The launch's measurement; the policy of the test's KMS names one. */
  readonly measurement?: string;
  /** Other values of the twin's machine. */
  readonly machine?: TwinConfigFile["machine"];
  readonly faults?: TwinConfigFile["faults"];
  /** Another disk in place of the node's own. */
  readonly initdata?: string;
  /** Without a device that gives evidence. */
  readonly noTee?: boolean;
  /** In megabytes. */
  readonly memory?: number;
  /** Milliseconds after which the machine is cut off, whatever it does. */
  readonly timeout?: number;
  readonly units?: readonly Unit[];
  readonly files?: Readonly<Record<string, string>>;
}

/** What an event has to be; all of what is given. */
export interface Wanted {
  readonly phase?: Event["phase"];
  readonly kind?: Event["kind"];
  readonly code?: string;
  readonly message?: RegExp;
  /** Only later ones. */
  readonly after?: number;
}

export interface TestNode extends AsyncDisposable {
  readonly name: string;
  /** What systemd's journal and the kernel said so far. */
  readonly console: string;
  readonly address: string;
  /** `sealet status`. */
  status(): Promise<Status>;
  /** All that the agents of this boot said. */
  readonly events: readonly Event[];
  /** Runs a script as root. */
  exec(script: string, milliseconds?: number): Promise<Ran>;
  /** The same; its output. @throws where it does not end with 0 */
  output(script: string, milliseconds?: number): Promise<string>;
  /** Resolves with an event that is there or comes. @throws if the machine ends or the time is over before */
  waitFor(what: Wanted, milliseconds?: number): Promise<Event>;
  /** `sealet status` once the agent has said that the node is in this state. */
  reach(state: Status["state"], milliseconds?: number): Promise<Status>;
  powerCut(): Promise<GuestEnd>;
  /** As `systemctl poweroff`. @throws where the machine does not go down in time */
  shutdown(): Promise<GuestEnd>;
}

/** Nodes that a test started, for the report of its failure. */
export const started: RunningNode[] = [];

const TWIN_CONFIG = "/run/twin/config.json";

function twinConfig({ enrolled, measurement, machine, faults }: NodeOptions, ca: string): string {
  const config: TwinConfigFile = {
    tee: "sev-snp",
    product: "Genoa",
    interfaces: ["device"],
    ca,
    chip: enrolled.name,
    machine: { measurement: measurement ?? MEASUREMENT, hostData: enrolled.hostData, ...machine },
    control: "/run/twin/control",
    ...(faults === undefined ? {} : { faults }),
  };
  return JSON.stringify(config);
}

/** Powers a node on. */
export async function startNode(options: NodeOptions): Promise<TestNode> {
  const all = await programs();
  const units = options.units ?? [];
  const rootOptions: RootOptions = {
    programs: all,
    units,
    wanted: [...(options.noTee === true ? [] : ["twin.service"]), ...units.map(({ name }) => name)],
    files: { [TWIN_CONFIG]: twinConfig(options, inGuest(all.twinCa)), ...options.files },
  };
  using resources = new DisposableStack();
  const stage = mkdtempSync(join(tmpdir(), "sealet-stage-"));
  resources.defer(() => {
    rmSync(stage, { recursive: true });
  });
  stageRoot(stage, rootOptions);
  const tap = resources.use(openTap());
  const guest = await startGuest({
    script: initScript(rootOptions),
    memory: options.memory ?? 768,
    disks: [
      { path: options.initdata ?? options.enrolled.initdata, serial: "initdata", readOnly: true },
      { path: options.stateDisk, serial: "state" },
    ],
    shares: shares(stage),
    network: tap,
    channel: true,
    timeout: options.timeout ?? 120_000,
    parameters: [
      "systemd.journald.forward_to_console=1",
      "systemd.journald.max_level_console=info",
      "systemd.show_status=0",
    ],
  });
  const node = new RunningNode(options.enrolled.name, guest, tap.guestAddress, resources.move());
  started.push(node);
  return node;
}

const POLL = 20;
/** What the agent says of a node that goes nowhere by itself, or not for a minute. */
const GAVE_UP = /^(?:failed|locked): /u;
const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** What is whole of the file; nothing where there is none. */
function readEvents(file: string): Event[] | undefined {
  if (!existsSync(file)) return undefined;
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => eventSchema.parse(JSON.parse(line)));
}

function isWanted(event: Event, { phase, kind, code, message, after = 0 }: Wanted): boolean {
  return (
    event.sequence > after &&
    (phase === undefined || event.phase === phase) &&
    (kind === undefined || event.kind === kind) &&
    (code === undefined || event.code === code) &&
    (message === undefined || message.test(event.message))
  );
}

export class RunningNode implements TestNode {
  readonly name: string;
  readonly #guest: Guest;
  readonly address: string;
  readonly #resources: DisposableStack;
  readonly #channel: Channel;
  #ended: GuestEnd | undefined;
  /** The last that was heard, for the report of a failure. */
  lastStatus: Status | undefined;
  #lastEvents: readonly Event[] = [];

  constructor(name: string, guest: Guest, address: string, resources: DisposableStack) {
    if (guest.channel === undefined) throw new Error("the guest has no channel");
    this.name = name;
    this.#guest = guest;
    this.address = address;
    this.#resources = resources;
    this.#channel = new Channel(guest.channel, guest.folder);
    void this.#watch();
  }

  async #watch(): Promise<void> {
    this.#ended = await this.#guest.ended;
  }

  get console(): string {
    return this.#guest.console.text;
  }

  get ended(): GuestEnd | undefined {
    return this.#ended;
  }

  exec(script: string, milliseconds?: number): Promise<Ran> {
    return this.#channel.run(script, milliseconds);
  }

  async output(script: string, milliseconds?: number): Promise<string> {
    const { exit, stdout, stderr } = await this.exec(script, milliseconds);
    if (exit !== 0) throw new Error(`${script}: exit ${exit}\n${stderr}${stdout}`);
    return stdout;
  }

  async status(): Promise<Status> {
    const status = statusSchema.parse(JSON.parse(await this.output("sealet status -o json")));
    this.lastStatus = status;
    return status;
  }

  get events(): readonly Event[] {
    return readEvents(join(this.#guest.folder, EVENTS_FILE)) ?? this.#lastEvents;
  }

  async waitFor(wanted: Wanted, milliseconds = 60_000): Promise<Event> {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      const { events } = this;
      const found = events.find((event) => isWanted(event, wanted));
      if (found !== undefined) return found;
      const what = inspect(wanted, { breakLength: Infinity });
      const last = events
        .slice(-3)
        .map(({ phase, kind, code, message }) => `${phase} ${kind} ${code ?? ""} ${message}`);
      if (this.#ended !== undefined)
        throw new Error(
          `the machine ended (${this.#ended.how}) before ${what}; last were ${last.join("; ")}`,
        );
      if (performance.now() > deadline)
        throw new Error(`no ${what} within ${milliseconds} ms; last were ${last.join("; ")}`);
      const end = events.find(
        ({ sequence, phase, kind, message }) =>
          sequence > (wanted.after ?? 0) && phase === "agent" && kind === "note" && GAVE_UP.test(message),
      );
      // What it does then comes after it said so.
      if (end !== undefined && wanted.phase !== "lock")
        throw new Error(`${end.message} (${end.code}), before ${what}`);
      await pause(POLL);
    }
  }

  async reach(state: Status["state"], milliseconds?: number): Promise<Status> {
    await this.waitFor({ phase: "agent", message: new RegExp(`^${state}(?:: |$)`, "u") }, milliseconds);
    return this.status();
  }

  async powerCut(): Promise<GuestEnd> {
    return this.#guest.kill();
  }

  async shutdown(): Promise<GuestEnd> {
    // the channel may be gone before it can tell
    await this.exec("systemctl poweroff --no-block").catch(() => undefined);
    const late = setTimeout(() => void this.#guest.kill(), 40_000);
    const end = await this.#guest.ended;
    clearTimeout(late);
    if (end.how !== "power-off") throw new Error(`the machine did not go down: ${end.how}`);
    return end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lastEvents = this.events;
    await this.#guest[Symbol.asyncDispose]();
    this.#resources.dispose();
  }
}
