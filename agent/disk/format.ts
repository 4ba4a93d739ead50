/**
 * The first format. Everything is built beside the header area first; the header is written last, and the sealed record
 * after it. So a power cut leaves a blank disk, or one with an intent record, until the very last write makes it sealed.
 */
import { constants } from "node:fs";
import { open, readFile } from "node:fs/promises";

import { CryptDevice } from "../../native/cryptsetup.ts";
import { memoryFile, type MemoryFile } from "../../native/memfd.ts";
import { SealetError } from "../error.ts";
import { BlockDevice } from "./device.ts";
import { makeFileSystem } from "./filesystem.ts";
import {
  CIPHER,
  DATA_OFFSET_SECTORS,
  DATA_SECTOR_BYTES,
  geometryOf,
  HEADER_AREA_BYTES,
  HEADER_BYTES,
  LUKS2_COPY_BYTES,
  LUKS2_KEYSLOTS_BYTES,
  RECORD_OFFSETS,
} from "./layout.ts";
import { checkLuks2Header, PBKDF_ITERATIONS } from "./luks2-profile.ts";
import { blockOf, encodeRecord, sha256, type SealRecord, slotOf } from "./record.ts";
import { activateCrypt, closeStack, cryptSectors, openTop, type StackOptions } from "./stack.ts";

export interface FormatOrder {
  readonly stack: StackOptions;
  /** The header area that the decision to format was made on. */
  readonly area: Buffer;
  readonly bytes: number;
  /** A first format of this very disk was cut. */
  readonly resumed: boolean;
  readonly binding: Buffer;
  readonly runtime: string;
  readonly keys: {
    readonly uuid: string;
    readonly generation: number;
    readonly diskKey: Buffer;
    readonly headerMacKey: Buffer;
  };
  readonly signal: AbortSignal;
}

const NOTHING = Buffer.alloc(0);
const EPOCH = 1n;

/**
 * Leaves the disk sealed and open.
 * @returns the sealed record
 * @throws DISK_FOREIGN the disk is not any more what was decided about; DISK_IO, DISK_BUSY, NATIVE_FAILED
 */
export async function formatDisk(order: FormatOrder): Promise<SealRecord> {
  await writeIntent(order);
  try {
    return await build(order);
  } catch (thrown) {
    await closeStack(order.stack).catch(() => undefined); // the first failure is the one to tell
    throw thrown;
  }
}

async function writeIntent(order: FormatOrder): Promise<void> {
  // INVARIANT (I3): nobody else has the disk, and it is still what was decided about.
  await using device = await BlockDevice.open(order.stack.path, "exclusive");
  const area = await device.read(0, HEADER_AREA_BYTES);
  const same = device.bytes === order.bytes && area.equals(order.area);
  if (!same || !(order.resumed || (await device.proveBlank(order.signal)).blank)) {
    throw new SealetError("DISK_FOREIGN", "The disk changed while its format was being allowed.");
  }
  if (order.resumed) return; // its intent is there, and was found right
  const intent = recordOf(order, { kind: "intent", epoch: 0n, headerDigest: Buffer.alloc(32) });
  await device.write(
    RECORD_OFFSETS[slotOf(0n)],
    blockOf(encodeRecord(intent, NOTHING, order.keys.headerMacKey)),
  );
}

function recordOf(
  { keys, binding, bytes }: FormatOrder,
  rest: Pick<SealRecord, "kind" | "epoch" | "headerDigest"> & Partial<SealRecord>,
): SealRecord {
  return {
    uuid: keys.uuid,
    generation: keys.generation,
    binding,
    diskBytes: BigInt(bytes),
    geometry: { regionSectors: 0, metadataSectors: 0, dataSectors: 0 },
    initialised: false,
    ...rest,
  };
}

async function build(order: FormatOrder): Promise<SealRecord> {
  const { stack, keys, signal, runtime } = order;
  using memory = memoryFile("sealet-header", Buffer.alloc(HEADER_BYTES));
  await makeHeader(order, memory);
  const header = await readFile(memory.path);
  checkLuks2Header(header); // what is written is what will be accepted
  const geometry = geometryOf(await cryptSectors(stack.name));
  const path = await openTop(stack, geometry, { initialised: false, fresh: true });
  await makeFileSystem(path, { uuid: keys.uuid, epoch: EPOCH }, runtime, signal);
  await flush(path);

  await using disk = await BlockDevice.open(stack.path, "shared");
  await disk.write(0, header);
  const sealed = recordOf(order, { kind: "sealed", epoch: EPOCH, headerDigest: sha256(header), geometry });
  await disk.write(RECORD_OFFSETS[slotOf(EPOCH)], blockOf(encodeRecord(sealed, header, keys.headerMacKey)));
  return sealed;
}

/** A LUKS2 header in memory with a new volume key, and the device open under it. */
async function makeHeader({ stack, keys }: FormatOrder, memory: MemoryFile): Promise<void> {
  await using context = await CryptDevice.init(memory.path, stack.path);
  await context.format({
    cipher: CIPHER.name,
    mode: CIPHER.mode,
    integrity: CIPHER.integrity,
    keyBytes: CIPHER.keyBytes,
    uuid: keys.uuid,
    sectorBytes: DATA_SECTOR_BYTES,
    dataOffsetSectors: DATA_OFFSET_SECTORS,
    metadataBytes: LUKS2_COPY_BYTES,
    keyslotsBytes: LUKS2_KEYSLOTS_BYTES,
    pbkdfIterations: PBKDF_ITERATIONS,
  });
  await context.addFirstKeyslot(keys.diskKey);
  await activateCrypt(context, stack.name, keys.diskKey);
}

async function flush(path: string): Promise<void> {
  await using file = await open(path, constants.O_RDWR);
  await file.sync();
}
