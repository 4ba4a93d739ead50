/**
 * The kernel's device mapper by ioctl(2) on /dev/mapper/control: create, load, suspend, resume, message, status, remove.
 * No libdevmapper, no udev cookies: devices are used as /dev/dm-N, which devtmpfs makes before the ioctl returns.
 * Never decides what a table should be.
 * @see include/uapi/linux/dm-ioctl.h, interface 4.x
 */
import { open, rm } from "node:fs/promises";
import { SealetError, type Code } from "../agent/error.ts";
import { ioctl } from "./ioctl.ts";
import { DM_IOCTL, DM_NAME_LIST, DM_TARGET_SPEC, iowr, Struct } from "./layout.ts";
import { errnoName } from "./libc.ts";

const COMMANDS = {
  list: 2,
  create: 3,
  remove: 4,
  suspend: 6, // and resume, without the flag
  load: 9,
  status: 12,
  message: 14,
} as const;
type Command = keyof typeof COMMANDS;

const FLAGS = {
  suspend: 1 << 1,
  table: 1 << 4,
  active: 1 << 5,
  bufferFull: 1 << 8,
  skipLockfs: 1 << 10,
  noFlush: 1 << 11,
  queryInactive: 1 << 12,
} as const;

export interface Target {
  readonly start: number;
  readonly sectors: number;
  readonly type: string;
  readonly parameters: string;
}

export interface Device {
  readonly name: string;
  readonly uuid: string;
  /** /dev/dm-N */
  readonly path: string;
  /** "254:3", as tables name it. */
  readonly number: string;
  readonly suspended: boolean;
  /** Whether it has a live table; one without is not ready yet, or never got that far. */
  readonly live: boolean;
  readonly openCount: number;
}

interface Call {
  readonly name: string;
  readonly uuid?: string;
  readonly flags?: number;
  readonly targets?: number;
  readonly payload?: Buffer;
}

interface Answer {
  readonly errno: number;
  readonly header: Struct<typeof DM_IOCTL>;
  readonly bytes: Buffer;
}

/** Room for the longest status that is asked for. */
const ANSWER_BYTES = 16 * 1024;

async function request(command: Command, call: Call): Promise<Answer> {
  const payload = call.payload ?? Buffer.alloc(0);
  const bytes = Buffer.alloc(Math.max(ANSWER_BYTES, DM_IOCTL.size + payload.length));
  const header = new Struct(DM_IOCTL, bytes)
    .set("version_major", 4) // any minor serves
    .set("data_size", bytes.length)
    .set("data_start", DM_IOCTL.size)
    .set("target_count", call.targets ?? 0)
    .set("flags", call.flags ?? 0);
  writeText(header.slice("device_name"), call.name);
  writeText(header.slice("uuid"), call.uuid ?? "");
  payload.copy(bytes, DM_IOCTL.size);
  await using file = await open("/dev/mapper/control", "r+");
  const { errno } = await ioctl(file.fd, iowr("\u00fd", COMMANDS[command], DM_IOCTL.size), bytes);
  return { errno, header, bytes };
}

const CODES: Readonly<Record<string, Code>> = { EBUSY: "DISK_BUSY", EEXIST: "DISK_BUSY", EIO: "DISK_IO" };

async function control(command: Command, call: Call): Promise<Answer> {
  const answer = await request(command, call);
  if (answer.errno !== 0) {
    const errno = errnoName(answer.errno);
    throw new SealetError(
      CODES[errno] ?? "NATIVE_FAILED",
      `Device mapper could not ${command} ${call.name}: ${errno}`,
    );
  }
  if ((answer.header.get("flags") & FLAGS.bufferFull) !== 0)
    throw new SealetError("NATIVE_FAILED", `Device mapper's answer about ${call.name} is too long`);
  return answer;
}

function writeText(field: Buffer, text: string): void {
  if (text.length >= field.length) throw new RangeError(`${text} does not fit in ${field.length} bytes`);
  field.write(text, "latin1");
}

function readText(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

function deviceOf({ header }: Answer): Device {
  const dev = Number(header.getWide("dev")); // minor in bits 0 to 7 and 20 to 31, major in 8 to 19
  const major = (dev >>> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  return {
    name: readText(header.slice("device_name")),
    uuid: readText(header.slice("uuid")),
    path: `/dev/dm-${minor}`,
    number: `${major}:${minor}`,
    suspended: (header.get("flags") & FLAGS.suspend) !== 0,
    live: (header.get("flags") & FLAGS.active) !== 0,
    openCount: header.get("open_count"),
  };
}

function encodeTargets(targets: readonly Target[]): Buffer {
  return Buffer.concat(
    targets.map((target) => {
      const text = Buffer.from(`${target.parameters}\0`, "latin1");
      const bytes = Buffer.alloc((DM_TARGET_SPEC.size + text.length + 7) & ~7);
      const spec = new Struct(DM_TARGET_SPEC, bytes)
        .setWide("sector_start", BigInt(target.start))
        .setWide("length", BigInt(target.sectors))
        .set("next", bytes.length);
      writeText(spec.slice("target_type"), target.type);
      text.copy(bytes, DM_TARGET_SPEC.size);
      return bytes;
    }),
  );
}

function decodeTargets({ header, bytes }: Answer): readonly Target[] {
  const data = bytes.subarray(header.get("data_start"));
  const targets: Target[] = [];
  let at = 0;
  for (let left = header.get("target_count"); left > 0; left--) {
    const spec = new Struct(DM_TARGET_SPEC, data.subarray(at));
    targets.push({
      start: Number(spec.getWide("sector_start")),
      sectors: Number(spec.getWide("length")),
      type: readText(spec.slice("target_type")),
      parameters: readText(data.subarray(at + DM_TARGET_SPEC.size)),
    });
    at = spec.get("next"); // counted from the first one
  }
  return targets;
}

/**
 * A device with a table, running.
 * @throws DISK_BUSY the name is taken, or what the table names is in use
 */
export async function createDevice(name: string, uuid: string, targets: readonly Target[]): Promise<Device> {
  await control("create", { name, uuid });
  try {
    await loadTable(name, targets);
    return await resumeDevice(name);
  } catch (thrown) {
    await request("remove", { name });
    throw thrown;
  }
}

/** Into the inactive slot; `resumeDevice` makes it the live one. */
export async function loadTable(name: string, targets: readonly Target[]): Promise<void> {
  await control("load", { name, targets: targets.length, payload: encodeTargets(targets) });
}

export async function resumeDevice(name: string): Promise<Device> {
  return deviceOf(await control("suspend", { name }));
}

/**
 * Waits for what is in flight; what comes after waits for `resumeDevice`.
 * @param freeze whether a file system on it is brought to rest, and its journal with it, first
 */
export async function suspendDevice(name: string, freeze: boolean): Promise<void> {
  await control("suspend", { name, flags: FLAGS.suspend | (freeze ? 0 : FLAGS.skipLockfs) });
}

/** With the node that libdevmapper made for a device of its own. @throws DISK_BUSY it is in use */
export async function removeDevice(name: string): Promise<void> {
  await control("remove", { name });
  await rm(`/dev/mapper/${name}`, { force: true });
}

/** What the live targets say of themselves. */
export async function readStatus(name: string): Promise<readonly Target[]> {
  return decodeTargets(await control("status", { name, flags: FLAGS.noFlush }));
}

/** It shows no key where the key is in a keyring. @param which "loaded": what `resumeDevice` would make the live one */
export async function readTable(name: string, which: "live" | "loaded" = "live"): Promise<readonly Target[]> {
  const inactive = which === "loaded" ? FLAGS.queryInactive : 0;
  return decodeTargets(await control("status", { name, flags: FLAGS.noFlush | FLAGS.table | inactive }));
}

/** To the target at sector 0; never with a secret in it. */
export async function sendMessage(name: string, message: string): Promise<void> {
  const text = Buffer.from(`${message}\0`, "latin1");
  const payload = Buffer.alloc(8 + text.length); // struct dm_target_msg: u64 sector, then the text
  text.copy(payload, 8);
  await control("message", { name, payload });
}

/** The names of all devices. */
export async function listDevices(): Promise<readonly string[]> {
  const { header, bytes } = await control("list", { name: "" });
  const names: string[] = [];
  let data = bytes.subarray(header.get("data_start"));
  for (;;) {
    const device = new Struct(DM_NAME_LIST, data);
    if (device.getWide("dev") === 0n) return names;
    names.push(readText(data.subarray(DM_NAME_LIST.size)));
    if (device.get("next") === 0) return names;
    data = data.subarray(device.get("next"));
  }
}

/** @returns undefined where there is no device of that name */
export async function findDevice(name: string): Promise<Device | undefined> {
  const answer = await request("status", { name, flags: FLAGS.noFlush });
  if (answer.errno === 0) return deviceOf(answer);
  if (errnoName(answer.errno) === "ENXIO") return undefined;
  throw new SealetError("NATIVE_FAILED", `Device mapper can't find ${name}: ${errnoName(answer.errno)}`);
}
