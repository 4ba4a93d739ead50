/**
 * Every write that reaches a disk, in order, by dm-log-writes: a disk can then be rebuilt as a power cut after any of
 * them would have left it.
 * @see Documentation/admin-guide/device-mapper/log-writes.rst, drivers/md/dm-log-writes.c
 */
import assert from "node:assert/strict";
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";

import { createDevice, removeDevice, sendMessage } from "../../native/device-mapper.ts";
import type { TestDisk } from "./guest-disk.ts";

const NAME = "log";
const MAGIC = 0x6a736677736872n;
const FLAGS = { discard: 4n, mark: 8n } as const;

/** A scratch disk of the guest: the host's, so that it takes no memory here. */
const LOG = "/dev/ubdc";
const LOG_BYTES = 2 ** 30;

export interface Write {
  /** In bytes, on the disk. */
  readonly offset: number;
  readonly bytes: number;
  /** Where the log has its data. */
  readonly at: number;
  /** Set where a test said that something was reached. */
  readonly mark?: string;
}

/** @returns the path of the device whose writes are logged */
export async function startLog(disk: TestDisk): Promise<string> {
  const parameters = `${disk.path} ${LOG}`;
  const target = { start: 0, sectors: disk.bytes / 512, type: "log-writes", parameters };
  return (await createDevice(NAME, "TEST-LOG", [target])).path;
}

export async function mark(name: string): Promise<void> {
  await sendMessage(NAME, `mark ${name}`);
}

/** Ends the logging. @returns what was written, in order */
export async function stopLog(): Promise<readonly Write[]> {
  await removeDevice(NAME);
  using log = new Descriptor(LOG);
  const read = (at: number, bytes: number) => {
    const buffer = Buffer.alloc(bytes);
    readSync(log.fd, buffer, 0, bytes, at);
    return buffer;
  };
  const top = read(0, 512);
  assert.equal(top.readBigUInt64LE(0), MAGIC, "dm-log-writes left no log");
  const sector = top.readUInt32LE(24);
  const writes: Write[] = [];
  let at = sector;
  for (let left = top.readBigUInt64LE(16); left > 0n; left--) {
    const entry = read(at, sector);
    const flags = entry.readBigUInt64LE(16);
    const offset = Number(entry.readBigUInt64LE(0)) * sector;
    const size = (flags & FLAGS.discard) === 0n ? Number(entry.readBigUInt64LE(8)) * sector : 0;
    at += sector;
    if ((flags & FLAGS.mark) !== 0n) {
      const length = Number(entry.readBigUInt64LE(24));
      writes.push({ offset: 0, bytes: 0, at, mark: entry.toString("latin1", 32, 32 + length) });
    } else {
      if (size > 0) writes.push({ offset, bytes: size, at });
      at += size;
    }
  }
  assert.ok(at < LOG_BYTES - 2 ** 20, "the log is full");
  return writes;
}

/** Applies writes to an attached disk. They are on it after `flush`. */
export class Replay implements Disposable {
  readonly #log = new Descriptor(LOG);
  readonly #disk: Descriptor;

  constructor(disk: TestDisk) {
    this.#disk = new Descriptor(disk.path);
  }

  apply({ offset, bytes, at }: Write): void {
    const data = Buffer.alloc(bytes);
    readSync(this.#log.fd, data, 0, bytes, at);
    writeSync(this.#disk.fd, data, 0, bytes, offset);
  }

  flush(): void {
    fsyncSync(this.#disk.fd);
  }

  [Symbol.dispose](): void {
    this.#log[Symbol.dispose]();
    this.#disk[Symbol.dispose]();
  }
}

class Descriptor implements Disposable {
  readonly fd: number;
  constructor(path: string) {
    this.fd = openSync(path, "r+");
  }
  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
