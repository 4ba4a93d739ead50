/**
 * The devices between disk and file system, built and taken down in order:
 *
 *   NAME               ext4 is on this one: dm-clone while sectors are being initialised, then dm-linear
 *   NAME-map NAME-part NAME-zero   dm-clone's metadata, its destination, its source
 *   NAME-crypt         dm-crypt, AEAD (libcryptsetup)
 *   NAME-crypt_dif     dm-integrity: keeps nonces and tags, journals both with the data (libcryptsetup)
 *
 * A sector that was never written has no tag, and reading it fails. dm-clone over dm-zero reads it as zeros at once,
 * remembers what was written, and writes the zeros in the background while the disk is idle. Its metadata lies in the
 * encrypted device; a flush commits it after the data, so that a power cut loses at most what was not flushed.
 * INVARIANT: no discard reaches dm-clone, which would take it for an initialisation and leave sectors without tags.
 */
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { CryptDevice } from "../../native/cryptsetup.ts";
import {
  createDevice,
  type Device,
  findDevice,
  listDevices,
  loadTable,
  readStatus,
  readTable,
  removeDevice,
  resumeDevice,
  sendMessage,
  suspendDevice,
  type Target,
} from "../../native/device-mapper.ts";
import type { MemoryFile } from "../../native/memfd.ts";
import { SealetError } from "../error.ts";
import { BlockDevice, sectorsOf } from "./device.ts";
import type { Geometry } from "./layout.ts";

export interface StackOptions {
  /** Of the top device; the others' begin with it. */
  readonly name: string;
  /** The disk. */
  readonly path: string;
  /** "254:16", the disk's. */
  readonly number: string;
  readonly uuid: string;
}

export interface Progress {
  readonly done: number;
  readonly total: number;
}

const names = (name: string) => ({
  top: name,
  map: `${name}-map`,
  part: `${name}-part`,
  zero: `${name}-zero`,
  crypt: `${name}-crypt`,
});

/** Device mapper's own name for a device: tells ours of this disk from another's of the same name. */
const tagOf = (uuid: string, role: string) => `SEALET-${uuid.replaceAll("-", "")}-${role}`;

/**
 * How many regions dm-clone copies at once, and how many it joins into one copy. It starts none while there is other
 * input or output, which then still waits for those that run: with 2 MiB in flight an fdatasync takes six times as long,
 * with one region a quarter longer (measured: README.md).
 */
const PACES = { gentle: [1, 1], fast: [32, 16] } as const;
export type Pace = keyof typeof PACES;

const linear = (sectors: number, under: Device, start: number): readonly Target[] => [
  { start: 0, sectors, type: "linear", parameters: `${under.number} ${start}` },
];

/**
 * dm-crypt and dm-integrity by the header in memory.
 * @throws DISK_KEY_REFUSED, DISK_BUSY, DISK_IO, NATIVE_FAILED
 */
export async function openCrypt(options: StackOptions, header: MemoryFile, diskKey: Buffer): Promise<void> {
  await using crypt = await CryptDevice.init(header.path, options.path);
  await crypt.load();
  await activateCrypt(crypt, options.name, diskKey);
}

/** Under a header that is loaded, or was just made. */
export async function activateCrypt(context: CryptDevice, name: string, diskKey: Buffer): Promise<void> {
  await context.activate(names(name).crypt, diskKey);
}

/** In 512-byte sectors. */
export async function cryptSectors(name: string): Promise<number> {
  return sectorsOf((await required(names(name).crypt)).number);
}

async function required(name: string): Promise<Device> {
  const device = await findDevice(name);
  if (device === undefined) throw new SealetError("INTERNAL", `There is no device ${name}.`);
  return device;
}

/**
 * What ext4 is on, over the open crypt device.
 * @param fresh a first format: dm-clone's metadata is begun anew
 * @returns the top device's path
 */
export async function openTop(
  options: StackOptions,
  geometry: Geometry,
  how: { readonly initialised: boolean; readonly fresh: boolean },
): Promise<string> {
  const { top, map, part, zero, crypt } = names(options.name);
  const tag = (role: string) => tagOf(options.uuid, role);
  const under = await required(crypt);
  const { dataSectors, metadataSectors, regionSectors } = geometry;
  if ((await sectorsOf(under.number)) < metadataSectors + dataSectors) {
    throw new SealetError("DISK_DAMAGED", "The sealed device is smaller than when it was sealed.");
  }
  const data = linear(dataSectors, under, metadataSectors);
  if (how.initialised) return (await createDevice(top, tag("top"), data)).path;

  const mapDevice = await createDevice(map, tag("map"), linear(metadataSectors, under, 0));
  if (how.fresh) await writeZeros(mapDevice.path);
  const partDevice = await createDevice(part, tag("part"), data);
  const zeroDevice = await createDevice(zero, tag("zero"), [
    { start: 0, sectors: dataSectors, type: "zero", parameters: "" },
  ]);
  const parameters = [
    mapDevice.number,
    partDevice.number,
    zeroDevice.number,
    regionSectors,
    "2 no_hydration no_discard_passdown",
  ].join(" ");
  const device = await createDevice(top, tag("top"), [
    { start: 0, sectors: dataSectors, type: "clone", parameters },
  ]);
  await forbidDiscards(device);
  await finishIfInitialised(options.name);
  return device.path;
}

/** All of it: what dm-clone reads of its metadata must have tags. */
async function writeZeros(path: string): Promise<void> {
  await using device = await BlockDevice.open(path, "exclusive");
  const zeros = Buffer.alloc(1024 * 1024);
  for (let at = 0; at < device.bytes; at += zeros.length) {
    await device.write(at, zeros.subarray(0, Math.min(zeros.length, device.bytes - at)));
  }
}

async function forbidDiscards(device: Device): Promise<void> {
  const path = `/sys/dev/block/${device.number}/queue/discard_max_bytes`;
  try {
    await writeFile(path, "0");
  } catch (cause) {
    throw new SealetError("NATIVE_FAILED", "Discards can't be forbidden on the state disk.", { cause });
  }
}

/** @returns undefined where nothing is left to be initialised */
export async function readProgress(name: string): Promise<Progress | undefined> {
  const [target] = await readStatus(names(name).top);
  if (target?.type !== "clone") return undefined;
  // <metadata block size> <used>/<total> <region size> <hydrated>/<total> <hydrating> ... <metadata mode>
  const fields = target.parameters.split(" ");
  const [done, total] = (fields[3] ?? "").split("/").map(Number);
  if (done === undefined || total === undefined || !(total > 0) || fields.at(-1) !== "rw") {
    throw new SealetError("DISK_IO", "The state disk's initialisation failed: its map can't be written.", {
      expected: "rw",
      found: target.parameters,
    });
  }
  return { done, total };
}

export async function startInitialising(name: string, pace: Pace): Promise<void> {
  const { top } = names(name);
  const [threshold, batch] = PACES[pace];
  await sendMessage(top, `hydration_threshold ${threshold}`);
  await sendMessage(top, `hydration_batch_size ${batch}`);
  await sendMessage(top, "enable_hydration");
}

export async function stopInitialising(name: string): Promise<void> {
  await sendMessage(names(name).top, "disable_hydration");
}

/** How many requests the file system made so far. */
export async function countRequests(name: string): Promise<number> {
  const { number } = await required(names(name).top);
  const text = await readFile(`/sys/dev/block/${number}/stat`, "latin1"); // Documentation/block/stat.rst
  const fields = text.trim().split(/\s+/).map(Number);
  return (fields[0] ?? 0) + (fields[4] ?? 0);
}

/**
 * Once every region has its data, dm-clone gives way to dm-linear, under the mounted file system.
 * @returns whether nothing is left to be initialised
 */
export async function finishIfInitialised(name: string): Promise<boolean> {
  const progress = await readProgress(name);
  if (progress !== undefined && progress.done < progress.total) return false;
  const { top, map, part, zero, crypt } = names(name);
  if (progress !== undefined) {
    const [target] = await readTable(part);
    if (target === undefined) throw new SealetError("INTERNAL", `${part} has no table.`);
    const start = Number(target.parameters.split(" ")[1]);
    await loadTable(top, linear(target.sectors, await required(crypt), start));
    await suspendDevice(top, true); // commits dm-clone's metadata
    await forbidDiscards(await resumeDevice(top));
  }
  for (const device of [zero, part, map]) await removeIfThere(device);
  return true;
}

/** What an agent of this boot left open. @returns the top device, if it is whole and this disk's */
export async function findOpen({ name, uuid }: StackOptions): Promise<Device | undefined> {
  const top = await findDevice(name);
  if (top?.uuid !== tagOf(uuid, "top") || !top.live) return undefined;
  await forbidDiscards(top); // it may have been killed before it did
  return top;
}

/**
 * An agent that was killed while dm-linear took dm-clone's place left the file system waiting. Not for a disk that is
 * locked: its key is gone, and `resumeStack` needs it.
 */
export async function finishExchange(name: string): Promise<void> {
  const { top, crypt } = names(name);
  const under = await findDevice(crypt);
  if (under?.suspended === false && (await findDevice(top))?.suspended === true) await resumeDevice(top);
}

/** libcryptsetup's own, while it formats; one that is there was left by an agent that was killed. */
const TEMPORARY = "temporary-cryptsetup-";

/** A table that is loaded and not live yet holds a disk as well. */
async function tablesOf(device: string): Promise<readonly Target[]> {
  return [...(await readTable(device, "live")), ...(await readTable(device, "loaded"))];
}

/** The devices of ours, or left by us, that lie directly on this disk. @param disk its number */
async function ownHolders(name: string, disk: string): Promise<readonly string[]> {
  const ours = `${names(name).crypt}_dif`;
  const candidates = (await listDevices()).filter(
    (device) => device === ours || device.startsWith(TEMPORARY),
  );
  const tables = await Promise.all(candidates.map(tablesOf));
  return candidates.filter((_, index) =>
    tables[index]?.some(({ parameters }) => parameters.split(" ").includes(disk)),
  );
}

/** Whether it is our own devices that hold this disk. */
export async function isOurs(name: string, disk: string): Promise<boolean> {
  return (await ownHolders(name, disk)).length > 0;
}

/**
 * From the top down, by device mapper alone, so that what was left half-made goes too; what is not there is not missed.
 * With dm-crypt's device its copy of the volume key is gone; for the keyring's see `suspendStack`.
 * @throws DISK_BUSY the file system is mounted, or a program has the device open
 */
export async function closeStack({ name, number }: StackOptions): Promise<void> {
  const { top, map, part, zero, crypt } = names(name);
  for (const device of [top, zero, part, map, crypt]) await removeIfThere(device);
  for (const device of await ownHolders(name, number)) await removeIfThere(device);
  await removeIfThere(`${crypt}_dif`); // without a table it shows on no disk
}

async function removeIfThere(name: string): Promise<void> {
  if ((await findDevice(name)) !== undefined) await patiently(() => removeDevice(name));
}

/** udev looks at a device whenever it changes, and holds it open for a moment. */
async function patiently(remove: () => Promise<void>): Promise<void> {
  for (const delay of [10, 50, 200, 500]) {
    try {
      return await remove();
    } catch (thrown) {
      if (!(thrown instanceof SealetError) || thrown.code !== "DISK_BUSY") throw thrown;
    }
    await sleep(delay);
  }
  return remove();
}

/** @throws DISK_KEY_REFUSED */
export async function resumeStack(options: StackOptions, header: MemoryFile, diskKey: Buffer): Promise<void> {
  const { top, crypt } = names(options.name);
  await using context = await CryptDevice.init(header.path, options.path);
  await context.load();
  if ((await findDevice(crypt))?.suspended === true) await context.resume(crypt, diskKey);
  await resumeDevice(top);
}

/**
 * Input and output stop, and the volume key leaves dm-crypt, also where the file system can't be brought to rest. Open
 * files stay; they wait for `resumeStack`. What this does not do: libcryptsetup handed the key over as a logon key in the
 * keyring of the thread that it ran on, and there it stays until that thread ends. So the key has left the kernel
 * wholly only when this process ended. And device mapper waits for what is in flight: a disk that never answers, not even
 * with an error, keeps the key in dm-crypt.
 */
export async function suspendStack(name: string): Promise<void> {
  const { top, crypt } = names(name);
  try {
    if ((await findDevice(top))?.suspended === false) await suspendTop(top);
  } finally {
    await wipeKey(crypt);
  }
}

/** A disk that fails (EIO), or a file system that is being unmounted (EINVAL), can't be frozen. */
async function suspendTop(top: string): Promise<void> {
  try {
    await suspendDevice(top, true);
  } catch {
    await suspendDevice(top, false);
  }
}

async function wipeKey(crypt: string): Promise<void> {
  const device = await findDevice(crypt);
  if (device === undefined) return;
  if (!device.suspended) await suspendDevice(crypt, false);
  await sendMessage(crypt, "key wipe");
}
