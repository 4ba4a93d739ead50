/**
 * What the file system says of itself: old data under a fresh header shows by it. Two files of one block each, written in
 * turn by the epoch's parity, so that a torn write leaves the mark before it; the checksum finds the torn one.
 * INVARIANT: a mark is written in place. Nothing here makes, grows or renames a file after the format: a file system
 * without a free block or inode takes the next epoch too, or the node, which could make room, would never boot again.
 */
import { chmod, mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { SealetError } from "../error.ts";
import { DATA_SECTOR_BYTES } from "./layout.ts";
import { sha256, slotOf } from "./record.ts";

export interface Mark {
  readonly uuid: string;
  readonly epoch: bigint;
}

export interface StoredMark extends Mark {
  /** The other file holds no whole mark: a write of the next epoch was cut, or damage. */
  readonly alone: boolean;
}

/** In the file system, the outermost first. */
const FOLDERS = ["lib", "lib/sealet"] as const;
const PATHS = ["lib/sealet/epoch.0", "lib/sealet/epoch.1"] as const;
const MARK_BYTES = DATA_SECTOR_BYTES;
const MARK_TEXT = /^sealet 1 ([0-9a-f-]{36}) (\d{1,19}) [0-9a-f]{64}\n\0*$/;

/** Text, its SHA-256, and zeros to the end of the block. */
function encode({ uuid, epoch }: Mark): Buffer {
  const text = `sealet 1 ${uuid} ${epoch} `;
  const block = Buffer.alloc(MARK_BYTES);
  block.write(`${text}${sha256(Buffer.from(text)).toString("hex")}\n`, "latin1");
  return block;
}

/** @returns undefined for anything but a whole mark, byte for byte as `encode` makes it */
function decode(block: Buffer): Mark | undefined {
  const [, uuid, epoch] = MARK_TEXT.exec(block.toString("latin1")) ?? [];
  if (uuid === undefined || epoch === undefined) return undefined;
  const mark = { uuid, epoch: BigInt(epoch) };
  return encode(mark).equals(block) ? mark : undefined;
}

/** Both files, in the seed of a new file system: mkfs.ext4 leaves a block of zeros out, so the other has the epoch before. */
export async function layMarks(seed: string, { uuid, epoch }: Mark): Promise<void> {
  for (const folder of FOLDERS) {
    const path = join(seed, folder);
    await mkdir(path);
    await chmod(path, 0o755); // whatever the process's umask
  }
  for (const each of [epoch - 1n, epoch]) {
    await writeFile(join(seed, PATHS[slotOf(each)]), encode({ uuid, epoch: each }), { mode: 0o600 });
  }
}

function damaged(why: string, cause?: unknown): SealetError {
  return new SealetError("FILESYSTEM_DAMAGED", `The file system's own epoch ${why}.`, { cause });
}

/**
 * The newest whole one.
 * @throws FILESYSTEM_DAMAGED there is none, or both are what no history of writes leaves behind
 */
export async function readMark(mountPoint: string): Promise<StoredMark> {
  const blocks: Buffer[] = [];
  try {
    // One after the other: none may still be open, and hold the file system, where the other fails.
    for (const path of PATHS) blocks.push(await readFile(join(mountPoint, path)));
  } catch (cause) {
    throw damaged("can't be read", cause);
  }
  const marks = blocks.flatMap((block, slot) => {
    if (block.length !== MARK_BYTES) throw damaged(`is ${block.length} bytes long in slot ${slot}`);
    const mark = decode(block);
    if (mark === undefined) return [];
    if (slotOf(mark.epoch) !== slot) throw damaged(`is ${mark.epoch} in slot ${slot}`);
    return [mark];
  });
  const [newest, before] = marks.toSorted((a, b) => (a.epoch < b.epoch ? 1 : -1));
  if (newest === undefined) throw damaged("is not one that sealet writes");
  if (before !== undefined && (before.uuid !== newest.uuid || before.epoch + 1n !== newest.epoch)) {
    throw damaged(`is ${newest.uuid}, ${newest.epoch}, beside ${before.uuid}, ${before.epoch}`);
  }
  return { ...newest, alone: before === undefined };
}

/** Over the mark before the last. Durable when it returns. @throws DISK_IO */
export async function writeMark(mountPoint: string, mark: Mark): Promise<void> {
  try {
    await using file = await open(join(mountPoint, PATHS[slotOf(mark.epoch)]), "r+");
    const { bytesWritten } = await file.write(encode(mark), 0, MARK_BYTES, 0);
    if (bytesWritten !== MARK_BYTES) throw new Error(`${bytesWritten} of ${MARK_BYTES} bytes were written`);
    await file.sync();
  } catch (cause) {
    throw new SealetError("DISK_IO", "The file system's own epoch can't be written.", { cause });
  }
}
