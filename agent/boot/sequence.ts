/**
 * The boot sequence: the table of phases, and what each does with the machine. Read the table first.
 *
 * INVARIANT: every phase may be cut at any point and run again, by this agent or the next one of the same boot.
 */
import { SealetError } from "../error.ts";
import type { Clock } from "./clock.ts";
import type {
  HeldLease,
  Inspection,
  Machine,
  NodeConfiguration,
  Tee,
  Unsealed,
  Exchange,
} from "./machine.ts";
import type { Attempt, Outcome, Phase, PhaseName } from "./phase.ts";
import type { Session, SessionFile } from "./session.ts";

const seconds = (count: number) => count * 1000;

/** What the phases found out, in the order in which they did. */
export interface Facts {
  configuration?: NodeConfiguration;
  tee?: Tee;
  inspection?: Inspection;
  session?: Session;
  /** What the KMS counts this machine the holder of, from its answer on. */
  leaseId?: string;
  /** The node's object in Kubernetes tells what the node is. */
  told?: true;
}

export interface SequenceOptions<Keys extends Unsealed> {
  readonly machine: Machine<Keys>;
  readonly clock: Clock;
  readonly session: SessionFile;
  readonly facts: Facts;
  /** A lease is held from now on, and is to be kept. */
  readonly onLease: (session: Session) => void;
}

/** Timeouts are of one attempt; they bound what hangs, and are far above what is usual. */
const TABLE = [
  { name: "configure", timeout: seconds(20), retry: "briefly", needs: [] },
  { name: "detect", timeout: seconds(30), retry: "briefly", needs: ["configure"] },
  { name: "measure", timeout: seconds(10), retry: "never", needs: ["detect"] },
  { name: "attest", timeout: seconds(90), retry: "while-it-heals", needs: ["detect"] },
  { name: "unseal", timeout: seconds(300), retry: "while-it-heals", needs: ["attest"] },
  { name: "mount", timeout: seconds(120), retry: "never", needs: ["unseal"] },
  { name: "enrol", timeout: seconds(60), retry: "while-it-heals", needs: ["mount"] },
  { name: "network", timeout: seconds(30), retry: "while-it-heals", needs: ["enrol"] },
  // I2: these four by name, whatever happens to the order above.
  {
    name: "kubelet",
    timeout: seconds(180),
    retry: "while-it-heals",
    needs: ["attest", "unseal", "mount", "enrol"],
  },
  { name: "serve", timeout: seconds(30), retry: "while-it-heals", needs: ["kubelet"] },
] as const satisfies readonly Omit<Phase, "run">[];

export function bootSequence<Keys extends Unsealed>(options: SequenceOptions<Keys>): readonly Phase[] {
  const steps = new Steps(options);
  return TABLE.map((phase) => ({ ...phase, run: (attempt: Attempt) => steps[phase.name](attempt) }));
}

class Steps<Keys extends Unsealed> implements Record<PhaseName, Phase["run"]> {
  readonly #machine: Machine<Keys>;
  readonly #options: SequenceOptions<Keys>;
  readonly #facts: Facts;
  #exchange: Exchange<Keys> | undefined;

  constructor(options: SequenceOptions<Keys>) {
    this.#machine = options.machine;
    this.#options = options;
    this.#facts = options.facts;
  }

  async configure({ signal }: Attempt): Promise<Outcome> {
    const configuration = await this.#machine.configure(signal);
    this.#facts.configuration = configuration;
    return { done: `${configuration.role} ${configuration.node} of ${configuration.cluster}` };
  }

  async detect({ signal }: Attempt): Promise<Outcome> {
    const tee = await this.#machine.detect(signal);
    this.#facts.tee = tee;
    const { facts, open } = await this.#inspect(signal);
    return { done: `${tee.tee} by ${tee.origin}; state disk is ${facts.state}${open ? " and open" : ""}` };
  }

  measure(): Promise<Outcome> {
    const reason =
      this.#facts.tee?.tee === "sev-snp"
        ? "sev-snp has no runtime measurement register; the launch measurement covers the agent"
        : "the image's root hash, and with it the agent, is in the launch measurement";
    return Promise.resolve({ skipped: reason });
  }

  /**
   * Evidence for a request of the disk's keys. Where an earlier agent of this boot opened the disk and its lease lives,
   * that one's evidence stands, and the lease is renewed over new evidence when its time comes.
   */
  async attest({ signal, number }: Attempt): Promise<Outcome> {
    if (number > 1) await this.#inspect(signal);
    const session = this.#resumable();
    if (session !== undefined) {
      this.#hold(session);
      return { done: `evidence ${short(session.evidenceSha256)} of this boot stands` };
    }
    return { done: `evidence ${short(await this.#request(signal))} given` };
  }

  async unseal({ signal, number }: Attempt): Promise<Outcome> {
    if (this.#facts.session !== undefined) return { done: "open since before this agent" };
    if (number > 1) {
      await this.#inspect(signal);
      await this.#request(signal);
    }
    const exchange = this.#exchange;
    if (exchange === undefined) throw new SealetError("INTERNAL", "No request for the disk's keys was made");
    using keys = await exchange.unsealed;
    this.#facts.leaseId = keys.lease.id;
    const wasOpen = this.#facts.inspection?.open === true;
    await this.#machine.disk.unseal(keys, signal);
    await this.#machine.keys.commit(keys.uuid, keys.nextEpoch, signal);
    // Not before the commit: an agent that is killed until here has its successor ask again.
    const { uuid, evidenceSha256 } = keys;
    const initdataSha256 = this.#initdata;
    this.#hold({ ...heldFrom(keys.lease, this.#options.clock), uuid, initdataSha256, evidenceSha256 });
    const what = keys.format ? "formatted" : wasOpen ? "kept open" : "opened";
    return { done: `${what}, epoch ${keys.nextEpoch}` };
  }

  async mount({ signal }: Attempt): Promise<Outcome> {
    return { done: await this.#machine.disk.mount(signal) };
  }

  async enrol({ signal }: Attempt): Promise<Outcome> {
    return { done: await this.#machine.keys.enrol(signal) };
  }

  network(): Promise<Outcome> {
    return Promise.resolve({ skipped: "the cluster has no encrypted node-to-node network" });
  }

  async kubelet({ signal }: Attempt): Promise<Outcome> {
    // Beside containerd's start, with the certificates written before it: kubelet finds its object there.
    const [done] = await Promise.all([this.#machine.kubernetes.start(signal), this.#tell(signal)]);
    return { done };
  }

  async serve({ signal }: Attempt): Promise<Outcome> {
    return { done: await this.#machine.serve(signal) };
  }

  /** Where it fails now it is done once the node serves: kubelet starts with or without the API server. */
  async #tell(signal: AbortSignal): Promise<void> {
    const { session } = this.#facts;
    if (session === undefined) return;
    await this.#machine.kubernetes.tell(session, signal).then(
      () => (this.#facts.told = true),
      () => undefined,
    );
  }

  get #initdata(): string {
    return this.#facts.configuration?.initdataSha256 ?? "";
  }

  async #inspect(signal: AbortSignal): Promise<Inspection> {
    this.#facts.inspection = await this.#machine.disk.inspect(signal);
    return this.#facts.inspection;
  }

  /** The session of an earlier agent of this boot, if its disk is still open. */
  #resumable(): Session | undefined {
    if (this.#facts.inspection?.open !== true) return undefined;
    const session = this.#options.session.read();
    if (session === undefined) return undefined;
    if (session.initdataSha256 !== this.#initdata) {
      throw new SealetError(
        "INITDATA_INVALID",
        "The initdata is not the one that this boot got its keys with",
        {
          predicate: "initdata",
          expected: session.initdataSha256,
          found: this.#initdata,
        },
      );
    }
    if (session.lease.heldUntil <= this.#options.clock.monotonic()) {
      throw new SealetError(
        "LEASE_LOST",
        `Lease ${session.lease.id} ended while no agent was there to renew it`,
      );
    }
    return session;
  }

  /** @returns the evidence's digest */
  async #request(signal: AbortSignal): Promise<string> {
    const facts = this.#facts.inspection?.facts;
    if (facts === undefined) throw new SealetError("INTERNAL", "The state disk was not inspected");
    this.#exchange = this.#machine.keys.requestUnseal(facts, signal);
    // The second half is unseal's; until it looks, its failure must not count as unhandled.
    this.#exchange.unsealed.catch(() => undefined);
    return (await this.#exchange.attested).evidenceSha256;
  }

  #hold(session: Session): void {
    this.#options.session.write(session);
    this.#facts.session = session;
    this.#facts.leaseId = session.lease.id;
    this.#options.onLease(session);
  }
}

/** The lease by the clock that the next agent of this boot reads, too. */
export function heldFrom(lease: HeldLease, clock: Clock): Pick<Session, "lease" | "attestedUnixMs"> {
  const { id, durationMs, remainingMs } = lease;
  return {
    lease: { id, durationMs, heldUntil: clock.monotonic() + remainingMs },
    attestedUnixMs: clock.wall(),
  };
}

const short = (hex: string) => hex.slice(0, 16);
