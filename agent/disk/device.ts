/**
 * The state disk as a block device: found by its serial, held exclusively, read and written at offsets. Every failure is
 * a code; a read error is never taken for zeros.
 */
import { constants } from "node:fs";
import { type FileHandle, open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { SealetError, errnoOf, reasonOf } from "../error.ts";
import { blankRegions, type Region } from "./blank.ts";
import type { Blankness } from "./classify.ts";
import { SECTOR } from "./layout.ts";

/** Where drivers show a disk's serial: virtio and user-mode Linux, NVMe, SCSI (page 0x80: 4 bytes before it). */
const SERIALS = [
  ["serial", 0],
  ["device/serial", 0],
  ["device/vpd_pg80", 4],
] as const;

/**
 * @returns /dev/NAME
 * @throws DISK_MISSING, DISK_UNEXPECTED more than one has that serial
 */
export async function findBySerial(serial: string, sys = "/sys/block"): Promise<string> {
  const found: string[] = [];
  for (const name of await readdir(sys)) {
    const read = async ([file, skip]: (typeof SERIALS)[number]) =>
      (await readFile(join(sys, name, file)).catch(() => Buffer.alloc(0))).toString("latin1", skip).trim();
    const serials = await Promise.all(SERIALS.map(read));
    if (serials.some((candidate) => candidate === serial)) found.push(`/dev/${name}`);
  }
  const [path, another] = found;
  if (path === undefined) throw new SealetError("DISK_MISSING", `No disk has the serial ${serial}.`);
  if (another !== undefined) {
    throw new SealetError("DISK_UNEXPECTED", `More than one disk has the serial ${serial}.`, {
      expected: "one",
      found: found.join(", "),
    });
  }
  return path;
}

/** At a time: a network disk answers each after a millisecond. */
const PROOF_READS = 16;
/** A piece of a region: reading into the same memory again costs no new pages. */
const ZEROS = Buffer.alloc(1024 * 1024);

export type Claim = "exclusive" | "shared";

export class BlockDevice {
  readonly path: string;
  readonly bytes: number;
  /** "254:16" */
  readonly number: string;
  readonly #file: FileHandle;

  private constructor(path: string, bytes: number, number: string, file: FileHandle) {
    this.path = path;
    this.bytes = bytes;
    this.number = number;
    this.#file = file;
  }

  /**
   * @param claim "exclusive": no mount, no device mapper, no second agent has it, and none gets it
   * @throws DISK_MISSING, DISK_BUSY, DISK_IO
   */
  static async open(path: string, claim: Claim): Promise<BlockDevice> {
    const number = await numberOf(path);
    const exclusive = claim === "exclusive" ? constants.O_EXCL : 0;
    let file;
    try {
      file = await open(path, constants.O_RDWR | exclusive);
    } catch (cause) {
      if (errnoOf(cause) === "EBUSY") {
        throw new SealetError("DISK_BUSY", `Something else uses ${path}.`, { cause });
      }
      throw new SealetError("DISK_IO", `${path} can't be opened: ${errnoOf(cause)}.`, { cause });
    }
    try {
      return new BlockDevice(path, (await sectorsOf(number)) * SECTOR, number, file);
    } catch (thrown) {
      await file.close();
      throw thrown;
    }
  }

  /** @throws DISK_IO, also where the disk ends too early */
  async read(offset: number, bytes: number): Promise<Buffer> {
    const buffer = Buffer.alloc(bytes);
    await this.#readInto(buffer, offset);
    return buffer;
  }

  async #readInto(buffer: Buffer, offset: number): Promise<void> {
    for (let done = 0; done < buffer.length;) {
      let count;
      try {
        ({ bytesRead: count } = await this.#file.read(buffer, done, buffer.length - done, offset + done));
      } catch (cause) {
        throw this.#failure("read", offset + done, cause);
      }
      if (count === 0) throw this.#failure("read", offset + done, new Error("the disk ends here"));
      done += count;
    }
  }

  /** Returns when the bytes are durable. @throws DISK_IO */
  async write(offset: number, bytes: Buffer): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        done += (await this.#file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
      }
      await this.#file.sync();
    } catch (cause) {
      throw this.#failure("written", offset, cause);
    }
  }

  /** Reads every region that the proof asks for. @throws DISK_IO: what can't be read is not proven */
  async proveBlank(signal: AbortSignal): Promise<Blankness> {
    const regions = blankRegions(this.bytes);
    for (let at = 0; at < regions.length; at += PROOF_READS) {
      if (signal.aborted) throw new SealetError("CANCELLED", "The disk's inspection was stopped.");
      const found = await Promise.all(
        regions.slice(at, at + PROOF_READS).map((region) => this.#proveRegion(region)),
      );
      const data = found.find((blankness) => !blankness.blank);
      if (data !== undefined) return data;
    }
    return { blank: true };
  }

  async #proveRegion(region: Region): Promise<Blankness> {
    const buffer = Buffer.alloc(Math.min(region.bytes, ZEROS.length));
    for (let done = 0; done < region.bytes; done += buffer.length) {
      const piece = buffer.subarray(0, region.bytes - done);
      await this.#readInto(piece, region.offset + done);
      if (piece.compare(ZEROS, 0, piece.length) !== 0) {
        const at = done + piece.findIndex((byte) => byte !== 0);
        return { blank: false, offset: region.offset + at, why: region.why };
      }
    }
    return { blank: true };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #failure(verb: string, offset: number, cause: unknown): SealetError {
    const why = errnoOf(cause) ?? reasonOf(cause);
    return new SealetError("DISK_IO", `${this.path} can't be ${verb} at byte ${offset}: ${why}.`, { cause });
  }
}

/** memcmp(3) over zeros: a loop in JavaScript over 32 MiB takes longer than reading them. */
async function numberOf(path: string): Promise<string> {
  let found;
  try {
    found = await stat(path);
  } catch (cause) {
    throw new SealetError("DISK_MISSING", `There is no ${path}.`, { cause });
  }
  if (!found.isBlockDevice()) throw new SealetError("DISK_MISSING", `${path} is no block device.`);
  // glibc's gnu_dev_major and gnu_dev_minor, for the 32 bits that Linux uses
  const major = (found.rdev >>> 8) & 0xfff;
  const minor = (found.rdev & 0xff) | ((found.rdev >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** @param number "254:16" @throws DISK_IO */
export async function sectorsOf(number: string): Promise<number> {
  const text = await readFile(`/sys/dev/block/${number}/size`, "latin1").catch((cause: unknown) => {
    throw new SealetError("DISK_IO", `The size of block device ${number} can't be read.`, { cause });
  });
  return Number.parseInt(text, 10);
}
