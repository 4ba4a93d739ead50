/**
 * The state disk of this node, from inspection to closing. What is allowed is decision.ts's; this module does it, in an
 * order that a power cut at any instruction leaves either as it was or as it was to be (I10).
 *
 * INVARIANTS
 * - I3: the first byte is written only in `format`, after the decision said so, and after the very bytes that it was
 *   made on were read again.
 * - I4: header and record are read once; what is opened is the copy that was checked.
 * - The order of an unseal's writes: the file system's mark, then the record, then (the caller's) commit. So the mark is
 *   never older than the record, unless somebody put old data under it.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { type Device, findDevice } from "../../native/device-mapper.ts";
import { SealetError } from "../error.ts";
import { classify, type Finding } from "./classify.ts";
import { decide, type DiskState, isHopeless } from "./decision.ts";
import { BlockDevice, findBySerial } from "./device.ts";
import { mountFileSystem, mountPoints, stageFileSystem, unmountFileSystem } from "./filesystem.ts";
import { formatDisk } from "./format.ts";
import { initialise } from "./initialise.ts";
import { CIPHER, HEADER_AREA_BYTES, MIN_DISK_BYTES } from "./layout.ts";
import { openDisk } from "./open.ts";
import { bindingOf, checkMac, type SealRecord, type StoredRecord } from "./record.ts";
import {
  closeStack,
  findOpen,
  finishExchange,
  isOurs,
  type Progress,
  readProgress,
  type StackOptions,
  suspendStack,
} from "./stack.ts";

export interface StateDiskOptions {
  /** How the disk is found: its serial, or its path. */
  readonly disk: { readonly serial: string } | { readonly path: string };
  readonly cluster: string;
  readonly node: string;
  /** Where it is to be mounted. */
  readonly mountPoint: string;
  /** A folder in memory of the agent's own, such as /run/sealet. */
  readonly runtime: string;
  /** Of the device in /dev/mapper. */
  readonly name?: string;
}

/** What the KMS released. The buffers stay the caller's, who wipes them. */
export interface DiskKeys {
  readonly format: boolean;
  readonly uuid: string;
  readonly generation: number;
  readonly nextEpoch: bigint;
  readonly diskKey: Buffer;
  readonly headerMacKey: Buffer;
}

/** As `sealet.v1.DiskFacts`. */
interface Facts {
  readonly state: DiskState;
  readonly uuid: string;
  readonly headerDigest: Buffer;
  readonly generation: number;
  readonly epoch: bigint;
  readonly sizeBytes: bigint;
}

export interface Inspection {
  readonly facts: Facts;
  /** This boot opened it already: an agent was killed and restarted. */
  readonly open: boolean;
}

export interface Description {
  readonly state: string;
  readonly device: string;
  readonly uuid: string;
  readonly generation: number;
  readonly epoch: bigint;
  readonly sizeBytes: bigint;
  readonly cipher: string;
  readonly integrity: string;
  readonly open: boolean;
  readonly mountPoint: string;
  /** 0 to 1. */
  readonly initialised: number;
}

type Usable = Extract<Finding, { state: "blank" | "interrupted" | "sealed" }>;

/** What the last inspection saw: the bytes themselves, since what follows is about them and not about the disk's. */
interface Seen {
  readonly area: Buffer;
  readonly finding: Usable;
  readonly open: boolean;
}

export class StateDisk {
  readonly #options: StateDiskOptions;
  readonly #name: string;
  readonly #binding: Buffer;
  #seen: Seen | undefined;
  #path = "";
  #number = "";
  #bytes = 0;
  #state = "unknown";
  /** The record that is on the disk since the last unseal. */
  #record: SealRecord | undefined;

  constructor(options: StateDiskOptions) {
    this.#options = options;
    this.#name = options.name ?? "sealet-state";
    this.#binding = bindingOf(options.cluster, options.node);
  }

  /**
   * Reads only.
   * @throws DISK_MISSING, DISK_TOO_SMALL, DISK_BUSY, DISK_IO, DISK_FOREIGN, DISK_DAMAGED, HEADER_PROFILE,
   * HEADER_TAMPERED, DISK_UNEXPECTED
   */
  async inspect(signal: AbortSignal): Promise<Inspection> {
    this.#seen = undefined;
    const { disk } = this.#options;
    this.#path = "path" in disk ? disk.path : await findBySerial(disk.serial);
    await using device = await this.#claim(this.#path);
    this.#number = device.number;
    this.#bytes = device.bytes;
    if (device.bytes < MIN_DISK_BYTES) throw tooSmall(device.bytes);
    const area = await device.read(0, HEADER_AREA_BYTES);
    const finding = await classify(area, device.bytes, () => device.proveBlank(signal));
    this.#state = finding.state;
    if ("error" in finding) {
      if (isHopeless(finding.state)) throw finding.error;
      throw new SealetError("INTERNAL", `A ${finding.state} disk should have been refused.`);
    }
    if (finding.state !== "blank") this.#checkBinding(finding.record);
    const record = finding.state === "blank" ? undefined : finding.record;
    if (finding.state === "sealed") await finishExchange(this.#name);
    const open =
      finding.state === "sealed" && (await findOpen(this.#stack(finding.record.uuid))) !== undefined;
    this.#seen = { area, finding, open };
    this.#record = record;
    return {
      open,
      facts: {
        state: finding.state,
        uuid: record?.uuid ?? "",
        headerDigest: finding.state === "sealed" ? finding.record.headerDigest : Buffer.alloc(0),
        generation: record?.generation ?? 0,
        epoch: record?.epoch ?? 0n,
        sizeBytes: BigInt(device.bytes),
      },
    };
  }

  /**
   * Opens the disk as it was inspected, or formats it if that was ordered, and writes the epoch. One that is open only
   * gets the epoch.
   * @throws DISK_KEY_REFUSED, HEADER_TAMPERED, DISK_ROLLED_BACK, FILESYSTEM_DAMAGED, DISK_IO, DISK_BUSY, ...
   */
  async unseal(keys: DiskKeys, signal: AbortSignal): Promise<void> {
    const seen = this.#seen;
    if (seen === undefined) throw new SealetError("INTERNAL", "The state disk was not inspected.");
    const uuid = seen.finding.state === "blank" ? keys.uuid : seen.finding.record.uuid;
    const relation = uuid !== keys.uuid ? "knows-another" : keys.format ? "formatting-this" : "knows-this";
    const decision = decide(seen.finding.state, relation);
    if (decision.action === "refuse") {
      throw new SealetError(decision.code, `The KMS's order does not fit a ${seen.finding.state} disk.`, {
        expected: `${keys.format ? "format" : "open"} ${keys.uuid}`,
        found: `${seen.finding.state} ${uuid}`,
      });
    }
    if ((decision.action === "format") !== keys.format) {
      // A sealed disk whose commit was lost: the KMS saw it as such and asks for no format.
      throw new SealetError("DISK_UNEXPECTED", "The KMS ordered a format of a disk that is sealed.");
    }
    this.#seen = undefined; // whatever happens, the next attempt looks again
    if (decision.action === "format") await this.#format(seen, keys, signal);
    else await this.#open(seen, keys, signal);
  }

  async #format(seen: Seen, keys: DiskKeys, signal: AbortSignal): Promise<void> {
    if (keys.nextEpoch !== 1n) {
      throw new SealetError("REQUEST_INVALID", "A first format is of epoch 1.", {
        expected: "1",
        found: String(keys.nextEpoch),
      });
    }
    if (seen.finding.state === "interrupted") checkIntent(seen.finding.record, keys);
    await closeStack(this.#stack(keys.uuid)); // what an agent of this boot left when it was killed in the middle
    this.#record = await formatDisk({
      stack: this.#stack(keys.uuid),
      area: seen.area,
      resumed: seen.finding.state === "interrupted",
      bytes: this.#bytes,
      binding: this.#binding,
      runtime: this.#options.runtime,
      keys,
      signal,
    });
    this.#state = "sealed";
    await stageFileSystem((await this.#top()).path, this.#staging, signal);
  }

  async #open(seen: Seen, keys: DiskKeys, signal: AbortSignal): Promise<void> {
    if (seen.finding.state !== "sealed") throw new SealetError("INTERNAL", "Only a sealed disk is opened.");
    const { record, header } = seen.finding;
    const stack = this.#stack(record.uuid);
    const adopted = seen.open ? await findOpen(stack) : undefined;
    this.#record = await openDisk({ stack, record, header, keys, adopted, staging: this.#staging, signal });
  }

  /**
   * At its mount point; one that is mounted there stays so.
   * @returns what was done, for people
   * @throws MOUNT_FAILED, FILESYSTEM_DAMAGED
   */
  async mount(_signal: AbortSignal): Promise<string> {
    const { mountPoint } = this.#options;
    const top = await this.#top();
    const points = await this.#mountedAt(top);
    if (!points.includes(mountPoint)) {
      await mkdir(mountPoint, { recursive: true });
      await mountFileSystem(top.path, mountPoint);
    }
    for (const point of points) if (point === this.#staging) await unmountFileSystem(point);
    return `${top.path} at ${mountPoint}`;
  }

  /**
   * Unmounts and closes, a suspended disk too where nothing of it is mounted any more; the volume key leaves dm-crypt, and
   * the kernel when this process ends (see `suspendStack`). Does nothing to a closed disk.
   * @throws DISK_BUSY a program uses it, or it is suspended and mounted
   */
  async close(_signal: AbortSignal): Promise<void> {
    const top = await findDevice(this.#name);
    const points = top === undefined ? [] : await mountPoints(top.number);
    if (top?.suspended === true && points.length > 0) {
      throw new SealetError("DISK_BUSY", "The state disk is suspended."); // unmounting would wait for its key
    }
    for (const { path } of points.toReversed()) await unmountFileSystem(path);
    await closeStack(this.#stack(""));
  }

  /**
   * The last resort: input and output stop and the volume key leaves dm-crypt, whoever still has files open, also where
   * the disk fails; the kernel when this process ends (see `suspendStack`).
   */
  async suspend(): Promise<void> {
    await suspendStack(this.#name);
  }

  /** Initialises what was never written, while the disk is idle, until it is done or `signal` says stop. */
  async initialise(
    signal: AbortSignal,
    onProgress: (progress: Progress) => void = () => undefined,
  ): Promise<void> {
    await initialise(this.#name, signal, onProgress);
  }

  /** What people and the API are told. Reads no disk. */
  async describe(): Promise<Description> {
    const top = await findDevice(this.#name);
    const suspended = top?.suspended ?? false;
    const progress = top === undefined || suspended ? undefined : await readProgress(this.#name);
    const points = top === undefined ? [] : await this.#mountedAt(top);
    const { mountPoint } = this.#options;
    return {
      state: this.#state,
      device: this.#path,
      uuid: this.#record?.uuid ?? "",
      generation: this.#record?.generation ?? 0,
      epoch: this.#record?.epoch ?? 0n,
      sizeBytes: BigInt(this.#bytes),
      cipher: `${CIPHER.name}-${CIPHER.mode}`,
      integrity: CIPHER.integrity,
      open: top !== undefined && !suspended,
      mountPoint: points.includes(mountPoint) ? mountPoint : "",
      initialised: progress === undefined ? 1 : progress.done / progress.total,
    };
  }

  async #mountedAt(top: Device): Promise<readonly string[]> {
    return (await mountPoints(top.number)).flatMap(({ path, whole }) => (whole ? [path] : []));
  }

  get #staging(): string {
    return join(this.#options.runtime, "staging");
  }

  #stack(uuid: string): StackOptions {
    return { name: this.#name, path: this.#path, number: this.#number, uuid };
  }

  async #top(): Promise<Device> {
    const top = await findDevice(this.#name);
    if (top === undefined) throw new SealetError("INTERNAL", "The state disk is not open.");
    return top;
  }

  /** Exclusively, unless it is our own devices that hold it. */
  async #claim(path: string): Promise<BlockDevice> {
    try {
      return await BlockDevice.open(path, "exclusive");
    } catch (thrown) {
      if (!(thrown instanceof SealetError) || thrown.code !== "DISK_BUSY") throw thrown;
      const device = await BlockDevice.open(path, "shared");
      if (await isOurs(this.#name, device.number)) return device;
      await device[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  #checkBinding({ binding, uuid }: SealRecord): void {
    if (binding.equals(this.#binding)) return;
    const { cluster, node } = this.#options;
    throw new SealetError("DISK_UNEXPECTED", "The disk was sealed by another node.", {
      expected: `node ${node} of ${cluster}`,
      found: `another's, disk ${uuid}`,
    });
  }
}

/** @throws HEADER_TAMPERED, DISK_UNEXPECTED: then no KMS of ours allowed that format */
function checkIntent(intent: StoredRecord, { headerMacKey, generation }: DiskKeys): void {
  checkMac(intent, Buffer.alloc(0), headerMacKey);
  if (intent.generation === generation) return;
  throw new SealetError("DISK_UNEXPECTED", "The format that was cut is of another key generation.", {
    expected: String(generation),
    found: String(intent.generation),
  });
}

const tooSmall = (bytes: number) =>
  new SealetError("DISK_TOO_SMALL", "The state disk is too small.", {
    expected: `${MIN_DISK_BYTES} bytes`,
    found: `${bytes} bytes`,
  });
