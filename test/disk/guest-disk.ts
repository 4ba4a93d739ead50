/** Disks for tests inside a guest: loop devices over sparse files in memory, that can be copied, swapped and compared. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import { type DiskKeys, StateDisk, type StateDiskOptions } from "../../agent/disk/state-disk.ts";

export const MIB = 2 ** 20;
const FOLDER = "/run/disks";
let count = 0;

export class TestDisk {
  readonly file: string;
  readonly path: string;

  constructor(bytes = 320 * MIB, file = join(FOLDER, `disk${++count}`)) {
    mkdirSync(FOLDER, { recursive: true });
    this.file = file;
    writeFileSync(file, "");
    truncateSync(file, bytes);
    this.path = losetup("--find", "--show", file).trim();
  }

  /** Everything on it; what is in the page cache of the loop device is not. */
  digest(): string {
    execFileSync("/usr/bin/sync");
    const hash = createHash("sha256");
    const file = openSync(this.file, "r");
    const buffer = Buffer.alloc(4 * MIB);
    for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer))
      hash.update(buffer.subarray(0, read));
    closeSync(file);
    return hash.digest("hex");
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

  /** As the power leaves it: a copy of what is durable or in flight now, on a disk of its own. */
  cut(): TestDisk {
    const copy = new TestDisk(MIB);
    copy.detach();
    copyFileSync(this.file, copy.file);
    copy.attach();
    return copy;
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
