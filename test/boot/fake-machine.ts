/**
 * A machine in memory: it does what the real parts promise, notes every effect, and fails or hangs where a test says so.
 * Its disk, kubelet and KMS outlive an agent, as the real ones do.
 */
import type {
  Attested,
  Exchange,
  HeldLease,
  Inspection,
  Machine,
  NodeConfiguration,
  Tee,
  Unsealed,
  Verdict,
} from "../../agent/boot/machine.ts";
import type { DiskFacts } from "../../agent/api/gen/sealet.ts";
import type { PhaseName } from "../../agent/boot/phase.ts";
import { type Code, SealetError } from "../../agent/error.ts";

export type Operation =
  | "configure"
  | "detect"
  | "inspect"
  | "attest"
  | "unseal"
  | "disk.unseal"
  | "commit"
  | "mount"
  | "enrol"
  | "kubernetes.start"
  | "kubernetes.tell"
  | "serve"
  | "renew"
  | "release"
  | "kubernetes.stop"
  | "disk.close"
  | "disk.suspend";

/** Which operation of the machine each phase lives by. */
export const OPERATION: Partial<Record<PhaseName, Operation>> = {
  configure: "configure",
  detect: "detect",
  attest: "attest",
  unseal: "unseal",
  mount: "mount",
  enrol: "enrol",
  kubelet: "kubernetes.start",
  serve: "serve",
};

/** Before an operation takes effect; after it, before its answer. */
type Moment = "before" | "after";

/** Which operations fail, each with its code. */
export type Faults = Partial<Record<Operation, Code>>;

interface FakeKeys extends Unsealed {
  readonly diskKey: Buffer;
}

/** In every key and secret: must never be seen in an event, a log line or a file. */
export const CANARY = "c4nary-of-the-disk-key";

export class FakeMachine implements Machine<FakeKeys> {
  readonly effects: Operation[] = [];
  /** Called before each operation: throws to fail it, waits to delay it. */
  before: (operation: Operation, signal: AbortSignal | undefined) => void | Promise<void> = () => undefined;
  #faults: Faults = {};
  /** Called around each: waits for ever where a test says so. */
  #hang: (operation: Operation, moment: Moment) => void | Promise<void> = () => undefined;

  initdata = "ab".repeat(32);

  // What outlives an agent.
  diskState: "blank" | "sealed" = "sealed";
  epoch = 7n;
  committed = 7n;
  open = false;
  mounted = false;
  suspended = false;
  kubelet: "running" | "stopped" = "stopped";
  holder: string | undefined;
  leaseMs = 300_000;
  /** Of a lease, where its answer was long on its way. */
  remainingMs: number | undefined;
  down = false;
  readonly handedOut: Buffer[] = [];

  async #do<T>(operation: Operation, signal: AbortSignal | undefined, effect: () => T): Promise<T> {
    await Promise.resolve();
    await this.before(operation, signal);
    const fault = this.#faults[operation];
    if (fault !== undefined) throw new SealetError(fault, `${operation} fails`);
    await this.#hang(operation, "before");
    if (signal?.aborted === true) throw new SealetError("CANCELLED", "Cancelled");
    this.effects.push(operation);
    const result = effect();
    await this.#hang(operation, "after");
    return result;
  }

  /** From now on. */
  fails(faults: Faults): void {
    this.#faults = faults;
  }

  /** From now on this one never ends, and heeds no signal. @returns whether it was reached */
  hangs(operation: Operation, moment: Moment = "before"): () => boolean {
    let reached = false;
    this.#hang = (what, when) => {
      if (what !== operation || when !== moment) return undefined;
      reached = true;
      return new Promise<never>(() => undefined);
    };
    return () => reached;
  }

  /** What hangs goes on hanging; nothing new does, or fails. */
  heals(): void {
    this.#faults = {};
    this.#hang = () => undefined;
  }

  configure(signal: AbortSignal): Promise<NodeConfiguration> {
    return this.#do("configure", signal, () => ({
      cluster: "prod",
      node: "worker-1",
      role: "worker",
      initdataSha256: this.initdata,
    }));
  }

  detect(signal: AbortSignal): Promise<Tee> {
    return this.#do("detect", signal, () => ({ tee: "sev-snp", origin: "/dev/sev-guest" }));
  }

  readonly disk = {
    inspect: (signal: AbortSignal): Promise<Inspection> =>
      this.#do("inspect", signal, () => ({
        facts: {
          state: this.diskState,
          uuid: "0b0e",
          headerDigest: Buffer.alloc(32),
          generation: 1,
          epoch: this.epoch,
          sizeBytes: 1n << 30n,
        },
        open: this.open,
      })),
    unseal: (keys: FakeKeys, signal: AbortSignal): Promise<void> =>
      this.#do("disk.unseal", signal, () => {
        if (keys.diskKey.toString() !== CANARY) throw new SealetError("DISK_KEY_REFUSED", "Wrong key");
        this.diskState = "sealed";
        this.open = true;
        this.epoch = keys.nextEpoch;
      }),
    mount: (signal: AbortSignal): Promise<string> =>
      this.#do("mount", signal, () => {
        if (!this.open) throw new SealetError("MOUNT_FAILED", "The disk is not open");
        this.mounted = true;
        return "/var";
      }),
    close: (signal: AbortSignal): Promise<void> =>
      this.#do("disk.close", signal, () => {
        if (this.kubelet === "running") throw new SealetError("DISK_BUSY", "kubelet has files open");
        this.open = false;
        this.mounted = false;
      }),
    suspend: (): Promise<void> =>
      this.#do("disk.suspend", undefined, () => {
        this.suspended = true;
      }),
  };

  readonly keys = {
    requestUnseal: (_disk: DiskFacts, signal: AbortSignal): Exchange<FakeKeys> => {
      const attested = this.#do("attest", signal, () => ({ evidenceSha256: "e5".repeat(32) }));
      const unsealed = attested.then(() =>
        this.#do("unseal", signal, (): FakeKeys => {
          const diskKey = Buffer.from(CANARY);
          this.handedOut.push(diskKey);
          this.holder = "lease-1";
          return {
            diskKey,
            format: this.diskState === "blank",
            uuid: "0b0e",
            nextEpoch: this.committed + 1n,
            evidenceSha256: "e5".repeat(32),
            lease: this.#lease(),
            [Symbol.dispose]: () => void diskKey.fill(0),
          };
        }),
      );
      unsealed.catch(() => undefined);
      return { attested, unsealed };
    },
    commit: (_uuid: string, epoch: bigint, signal: AbortSignal): Promise<void> =>
      this.#do("commit", signal, () => {
        if (epoch !== this.epoch) throw new SealetError("RELEASE_REFUSED", "The disk has another epoch");
        this.committed = epoch;
      }),
    enrol: (signal: AbortSignal): Promise<string> =>
      this.#do("enrol", signal, () => {
        if (!this.mounted) throw new SealetError("INTERNAL", "The state disk is not mounted");
        return "certificates of a year";
      }),
    renew: (_id: string, signal: AbortSignal): Promise<HeldLease & Attested> =>
      this.#do("renew", signal, () => ({ ...this.#lease(), evidenceSha256: "f6".repeat(32) })),
    release: (_id: string, signal: AbortSignal): Promise<void> =>
      this.#do("release", signal, () => {
        this.holder = undefined;
      }),
  };

  readonly kubernetes = {
    tell: (_verdict: Verdict, signal: AbortSignal): Promise<void> =>
      this.#do("kubernetes.tell", signal, () => undefined),
    start: (signal: AbortSignal): Promise<string> =>
      this.#do("kubernetes.start", signal, () => {
        this.kubelet = "running";
        return "kubelet is healthy";
      }),
    stop: (signal: AbortSignal): Promise<void> =>
      this.#do("kubernetes.stop", signal, () => {
        this.kubelet = "stopped";
      }),
  };

  serve(signal: AbortSignal): Promise<string> {
    return this.#do("serve", signal, () => "port 10270");
  }

  goingDown(): Promise<boolean> {
    return Promise.resolve(this.down);
  }

  #lease(): HeldLease {
    return { id: "lease-1", durationMs: this.leaseMs, remainingMs: this.remainingMs ?? this.leaseMs };
  }
}
