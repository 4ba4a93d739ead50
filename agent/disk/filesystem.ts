/**
 * ext4 on the open state disk. Programs run by absolute path with an empty environment; they see no key.
 *
 * What is done about damage: `e2fsck -p` before every mount, as every Linux does at boot. It replays the journal and,
 * where the file system is marked as faulty, repairs only what it can repair without losing data; anything more ends in
 * FILESYSTEM_DAMAGED. Never `-y`. At run time an error makes the file system read-only (errors=remount-ro).
 */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { errnoName } from "../../native/libc.ts";
import { mount, unmount } from "../../native/mount.ts";
import { type Code, SealetError } from "../error.ts";
import { runSubprocess } from "../subprocess.ts";
import { DATA_SECTOR_BYTES } from "./layout.ts";
import { layMarks, type Mark } from "./mark.ts";

const MKFS = "/usr/sbin/mkfs.ext4";
const FSCK = "/usr/sbin/e2fsck";

/**
 * A new file system that has the mark in it, and nothing else. The device reads as zeros: nothing is written to make it
 * so (assume_storage_prezeroed), nothing is discarded.
 * @param runtime a folder in memory
 */
export async function makeFileSystem(
  path: string,
  mark: Mark,
  runtime: string,
  signal: AbortSignal,
): Promise<void> {
  const seed = await mkdtemp(join(runtime, "seed-"));
  try {
    await layMarks(seed, mark);
    const { status, output } = await runSubprocess(
      MKFS,
      [
        ["-q", "-F", "-b", String(DATA_SECTOR_BYTES), "-U", mark.uuid, "-L", "sealet", "-m", "1"],
        ["-E", "nodiscard,assume_storage_prezeroed=1,root_owner=0:0", "-d", seed, path],
      ].flat(),
      signal,
      "NATIVE_FAILED",
    );
    if (status !== 0) throw new SealetError("DISK_IO", `mkfs.ext4 failed with ${status}: ${output}`);
  } finally {
    await rm(seed, { recursive: true, force: true });
  }
}

/** e2fsck(8): 1 is "errors were corrected", 2 "and the system should be rebooted" (only where it was mounted). */
const FSCK_OK = [0, 1] as const;
const FSCK_CODES: Readonly<Record<number, Code>> = { 8: "DISK_IO", 32: "CANCELLED" };

/** @throws FILESYSTEM_DAMAGED, DISK_IO */
async function checkFileSystem(path: string, signal: AbortSignal): Promise<void> {
  const { status, output } = await runSubprocess(FSCK, ["-p", path], signal, "NATIVE_FAILED");
  if (FSCK_OK.some((ok) => ok === status)) return;
  throw new SealetError(
    FSCK_CODES[status] ?? "FILESYSTEM_DAMAGED",
    `e2fsck -p ended with ${status}: ${output}`,
  );
}

/** EINVAL and EUCLEAN are ext4's for a superblock that makes no sense, EBADMSG for a wrong checksum. */
const MOUNT_CODES: Readonly<Record<string, Code>> = {
  EINVAL: "FILESYSTEM_DAMAGED",
  EUCLEAN: "FILESYSTEM_DAMAGED",
  EBADMSG: "FILESYSTEM_DAMAGED",
  EIO: "DISK_IO",
  EILSEQ: "DISK_IO",
};

/** kubelet, containerd and pods need programs to be executable, and nothing else: no devices, no set-user-ID. */
export async function mountFileSystem(path: string, target: string): Promise<void> {
  const { errno } = await mount({
    source: path,
    target,
    type: "ext4",
    flags: ["NODEV", "NOSUID", "NOATIME"],
    data: "errors=remount-ro",
  });
  if (errno === 0) return;
  const name = errnoName(errno);
  const why = `The state disk can't be mounted at ${target}: ${name}.`;
  throw new SealetError(MOUNT_CODES[name] ?? "MOUNT_FAILED", why);
}

/** Checked, and mounted where nobody looks, until its mark is known to be right. */
export async function stageFileSystem(path: string, folder: string, signal: AbortSignal): Promise<void> {
  await checkFileSystem(path, signal);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await mountFileSystem(path, folder);
}

/** @throws DISK_BUSY a program has a file open in it */
export async function unmountFileSystem(target: string): Promise<void> {
  const { errno } = await unmount(target);
  if (errno === 0) return;
  const name = errnoName(errno);
  const code = name === "EBUSY" ? "DISK_BUSY" : "MOUNT_FAILED";
  throw new SealetError(code, `${target} can't be unmounted: ${name}.`);
}

export interface MountPoint {
  readonly path: string;
  /** Not only a folder of the file system, as pods' volumes are. */
  readonly whole: boolean;
}

/** Where a block device is mounted, in the order of mounting. @param number "254:3" */
export async function mountPoints(number: string): Promise<readonly MountPoint[]> {
  const text = await readFile("/proc/self/mountinfo", "latin1"); // proc(5): id, parent, major:minor, root, mount point
  return text
    .split("\n")
    .map((line) => line.split(" "))
    .filter((fields) => fields[2] === number)
    .map((fields) => ({
      path: (fields[4] ?? "").replaceAll(/\\([0-7]{3})/g, (_, code: string) => unescape(code)),
      whole: fields[3] === "/",
    }));
}

const unescape = (octal: string) => String.fromCharCode(Number.parseInt(octal, 8));
