/** Disks for tests inside a guest: loop devices over sparse files in memory, that can be copied, swapped and compared. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";

import { type DiskKeys, StateDisk, type StateDiskOptions } from "../../agent/disk/state-disk.ts";

export const MIB = 2 ** 20;
const FOLDER = "/run/disks";
let count = 0;

export class TestDisk {
  readonly file: string;
  readonly path: string;
  readonly bytes: number;

  constructor(bytes = 320 * MIB, file = join(FOLDER, `disk${++count}`)) {
    this.bytes = bytes;
    mkdirSync(FOLDER, { recursive: true });
    this.file = file;
    writeFileSync(file, "");
    truncateSync(file, bytes);
    this.path = losetup("--find", "--show", file).trim();
  }

  /** What the block layer wrote or discarded since the disk was attached: proof that nothing was, where it stays. */
  written(): string {
    execFileSync("/usr/bin/sync");
    const fields = readFileSync(`/sys/class/block/${basename(this.path)}/stat`, "utf8")
      .trim()
      .split(/\s+/);
    return `${fields[4]} writes, ${fields[6]} sectors, ${fields[11]} discards`; // Documentation/block/stat.rst
  }

  /** What an attacker with the disk in hand does: past every cache of the guest. */
  write(offset: number, bytes: Uint8Array): void {
    this.detach();
    const file = openSync(this.file, "r+");
    writeSync(file, bytes, 0, bytes.length, offset);
    closeSync(file);
    this.attach();
  }

  read(offset: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    const file = openSync(this.file, "r");
    readSync(file, buffer, 0, bytes, offset);
    closeSync(file);
    return buffer;
  }

  flip(offset: number): void {
    this.write(offset, Buffer.from([this.read(offset, 1).readUInt8() ^ 0x01]));
  }

  blank(): void {
    const { size } = statSync(this.file);
    this.detach();
    truncateSync(this.file, 0);
    truncateSync(this.file, size);
    this.attach();
  }

  truncate(bytes: number): void {
    this.detach();
    truncateSync(this.file, bytes);
    this.attach();
  }

  save(name: string): void {
    execFileSync("/usr/bin/sync");
    execFileSync("/usr/bin/cp", ["--sparse=always", this.file, `${this.file}.${name}`]);
  }

  restore(name: string): void {
    this.detach();
    execFileSync("/usr/bin/cp", ["--sparse=always", `${this.file}.${name}`, this.file]);
    this.attach();
  }

  /** Becomes what another disk, that may be detached, holds. */
  become(other: TestDisk): void {
    this.detach();
    execFileSync("/usr/bin/cp", ["--sparse=always", other.file, this.file]);
    this.attach();
  }

  detach(): void {
    losetup("--detach", this.path);
  }

  attach(): void {
    losetup(this.path, this.file);
  }

  [Symbol.dispose](): void {
    this.detach();
    rmSync(this.file, { force: true });
  }
}

function losetup(...args: readonly string[]): string {
  return execFileSync("/usr/sbin/losetup", args, { encoding: "utf8" });
}

export const UUID = "11111111-2222-4333-8444-555555555555";
export const SIGNAL: AbortSignal = new AbortController().signal;

/** Keys as the KMS would release them. */
export function keys(nextEpoch: bigint, changes: Partial<DiskKeys> = {}): DiskKeys {
  return {
    format: nextEpoch === 1n,
    uuid: UUID,
    generation: 1,
    nextEpoch,
    diskKey: Buffer.alloc(32, 0x5a),
    headerMacKey: Buffer.alloc(32, 0xa5),
    ...changes,
  };
}

/** A node's agent in front of the disk. Each is a new start of the agent. */
export function agent(disk: TestDisk | string, changes: Partial<StateDiskOptions> = {}): StateDisk {
  mkdirSync("/run/sealet", { recursive: true });
  return new StateDisk({
    disk: { path: typeof disk === "string" ? disk : disk.path },
    cluster: "test",
    node: "node-1",
    mountPoint: "/run/state",
    runtime: "/run/sealet",
    ...changes,
  });
}

/** Inspects, then unseals for this epoch. */
export async function boot(
  disk: TestDisk | string,
  epoch: bigint,
  changes: Partial<DiskKeys> = {},
): Promise<StateDisk> {
  const state = agent(disk);
  await state.inspect(SIGNAL);
  await state.unseal(keys(epoch, changes), SIGNAL);
  return state;
}
