/**
 * Opens a sealed disk from the bytes that were inspected, and writes the epoch of this unseal: the file system's mark
 * first, then the record; the commit is the caller's. Nothing is opened, and nothing written, before the MAC is right.
 */
import { type Device, findDevice } from "../../native/device-mapper.ts";
import { sealedMemoryFile } from "../../native/memfd.ts";
import { SealetError } from "../error.ts";
import { BlockDevice } from "./device.ts";
import { mountPoints, stageFileSystem, unmountFileSystem } from "./filesystem.ts";
import { RECORD_OFFSETS } from "./layout.ts";
import { readMark, writeMark } from "./mark.ts";
import { blockOf, checkMac, encodeRecord, type SealRecord, slotOf, type StoredRecord } from "./record.ts";
import { closeStack, openCrypt, openTop, readProgress, resumeStack, type StackOptions } from "./stack.ts";

export interface OpenOrder {
  readonly stack: StackOptions;
  readonly record: StoredRecord;
  readonly header: Buffer;
  readonly keys: {
    readonly nextEpoch: bigint;
    readonly diskKey: Buffer;
    readonly headerMacKey: Buffer;
  };
  /** The top device, where an agent of this boot left it open. */
  readonly adopted: Device | undefined;
  /** Where the file system is mounted until it is known to be right. */
  readonly staging: string;
  readonly signal: AbortSignal;
}

/**
 * @returns the record that is on the disk now
 * @throws HEADER_TAMPERED, DISK_ROLLED_BACK, DISK_KEY_REFUSED, FILESYSTEM_DAMAGED, DISK_IO, DISK_BUSY
 */
export async function openDisk(order: OpenOrder): Promise<SealRecord> {
  const { stack, record, header, keys, adopted } = order;
  checkMac(record, header, keys.headerMacKey);
  checkEpoch(record.epoch, keys.nextEpoch);
  using memory = sealedMemoryFile("sealet-header", header);
  if (adopted !== undefined) {
    if (adopted.suspended) await resumeStack(stack, memory, keys.diskKey);
    return writeEpoch(order);
  }
  try {
    await closeStack(stack); // what an agent of this boot left when it was killed in the middle
    await openCrypt(stack, memory, keys.diskKey);
    await openTop(stack, record.geometry, { initialised: record.initialised, fresh: false });
    return await writeEpoch(order);
  } catch (thrown) {
    // Nothing stays open of what was refused. The refusal is the one to tell, whatever happens here.
    await unmountFileSystem(order.staging).catch(() => undefined);
    await closeStack(stack).catch(() => undefined);
    throw thrown;
  }
}

/** One ahead is what the KMS wants next; the same is an unseal whose commit was lost. */
function checkEpoch(epoch: bigint, next: bigint): void {
  if (next === epoch || next === epoch + 1n) return;
  throw new SealetError("DISK_ROLLED_BACK", "The disk's epoch is not the one that the KMS goes on from.", {
    expected: `${next - 1n} or ${next}`,
    found: String(epoch),
  });
}

async function writeEpoch({ stack, record, header, keys, staging, signal }: OpenOrder): Promise<SealRecord> {
  const mountPoint = await mounted(stack.name, staging, signal);
  const mark = await readMark(mountPoint);
  if (mark.uuid !== record.uuid || (mark.epoch !== record.epoch && mark.epoch !== record.epoch + 1n)) {
    throw new SealetError("DISK_ROLLED_BACK", "The data on the disk is of another time than its header.", {
      expected: `${record.uuid}, epoch ${record.epoch}`,
      found: `${mark.uuid}, epoch ${mark.epoch}${mark.alone ? ", and a torn one" : ""}`,
    });
  }
  const epoch = keys.nextEpoch;
  if (epoch === record.epoch) return record;
  if (epoch !== mark.epoch) await writeMark(mountPoint, { uuid: record.uuid, epoch });
  const initialised = record.initialised || (await readProgress(stack.name)) === undefined;
  const next: SealRecord = { ...record, epoch, initialised };
  await using device = await BlockDevice.open(stack.path, "shared");
  await device.write(RECORD_OFFSETS[slotOf(epoch)], blockOf(encodeRecord(next, header, keys.headerMacKey)));
  return next;
}

async function mounted(name: string, staging: string, signal: AbortSignal): Promise<string> {
  const top = await findDevice(name);
  if (top === undefined) throw new SealetError("INTERNAL", "The state disk is not open.");
  const points = await mountPoints(top.number);
  const whole = points.find((point) => point.whole);
  if (whole !== undefined) return whole.path;
  await stageFileSystem(top.path, staging, signal);
  return staging;
}
