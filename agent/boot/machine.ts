/**
 * What the boot sequence needs of the machine and the cluster, as narrow as it can be. `agent/agent.ts` gives the real
 * parts; tests give their own. Every wait takes an AbortSignal.
 */
import type { DiskFacts } from "../api/gen/sealet.ts";

export interface NodeConfiguration {
  readonly cluster: string;
  readonly node: string;
  readonly role: "worker" | "control-plane";
  /** SHA-256 of the initdata document, hex. */
  readonly initdataSha256: string;
}

export interface Tee {
  /** "sev-snp", "tdx", ... */
  readonly tee: string;
  /** Where evidence comes from: "/dev/sev-guest", ... */
  readonly origin: string;
}

export interface Inspection {
  /** For the KMS. */
  readonly facts: DiskFacts;
  /** This boot opened it already: an agent was killed and restarted. */
  readonly open: boolean;
}

export interface Attested {
  /** SHA-256 of report or quote, hex. */
  readonly evidenceSha256: string;
}

export interface Verdict extends Attested {
  /** When the KMS accepted the evidence. */
  readonly attestedUnixMs: number;
}

/** Keys and orders of the KMS for an evidence; wiped by whoever took them. */
export interface Unsealed extends Attested, Disposable {
  readonly format: boolean;
  readonly uuid: string;
  readonly nextEpoch: bigint;
  readonly lease: HeldLease;
}

export interface HeldLease {
  readonly id: string;
  readonly durationMs: number;
  /** Milliseconds from now in which it certainly has not ended. */
  readonly remainingMs: number;
}

export interface StateDisk<Keys extends Unsealed> {
  /** Reads only. @throws DISK_MISSING, DISK_FOREIGN, DISK_DAMAGED, DISK_IO, ... */
  inspect(signal: AbortSignal): Promise<Inspection>;
  /**
   * Opens the disk as it was inspected, or formats it if that was ordered, and writes the epoch. A disk that is open
   * already only gets the epoch. Not one byte is written unless the header is proven.
   */
  unseal(keys: Keys, signal: AbortSignal): Promise<void>;
  /** Mounts it; one that is mounted stays so. */
  mount(signal: AbortSignal): Promise<string>;
  /** Unmounts and closes; the volume key leaves the kernel. Does nothing to a closed disk. @throws DISK_BUSY */
  close(signal: AbortSignal): Promise<void>;
  /** The last resort: input and output stop and the volume key leaves the kernel, whoever still has files open. */
  suspend(): Promise<void>;
}

/** One request for the disk's keys, in its two halves. */
export interface Exchange<Keys extends Unsealed> {
  /** The KMS answered the challenge and the TEE gave its evidence. */
  readonly attested: Promise<Attested>;
  readonly unsealed: Promise<Keys>;
}

export interface KeyService<Keys extends Unsealed> {
  requestUnseal(disk: DiskFacts, signal: AbortSignal): Exchange<Keys>;
  commit(uuid: string, epoch: bigint, signal: AbortSignal): Promise<void>;
  /** Signs the requests and installs what comes back on the open state disk. @returns what, for people */
  enrol(signal: AbortSignal): Promise<string>;
  renew(leaseId: string, signal: AbortSignal): Promise<HeldLease & Attested>;
  release(leaseId: string, signal: AbortSignal): Promise<void>;
}

interface Kubernetes {
  /** Tells the cluster what this node is, on the node's own object there. */
  tell(verdict: Verdict, signal: AbortSignal): Promise<void>;
  /** Writes the configuration, starts containerd and kubelet, waits until kubelet is healthy. */
  start(signal: AbortSignal): Promise<string>;
  /** kubelet, containerd and every pod; what does not stop is killed. Does nothing where nothing runs. */
  stop(signal: AbortSignal): Promise<void>;
}

export interface Machine<Keys extends Unsealed = Unsealed> {
  configure(signal: AbortSignal): Promise<NodeConfiguration>;
  detect(signal: AbortSignal): Promise<Tee>;
  /** After `configure`. */
  readonly disk: StateDisk<Keys>;
  /** After `detect`. */
  readonly keys: KeyService<Keys>;
  readonly kubernetes: Kubernetes;
  /** Opens the node API to the control plane. */
  serve(signal: AbortSignal): Promise<string>;
  /** Whether the whole machine is going down, and not only this program. */
  goingDown(): Promise<boolean>;
}
