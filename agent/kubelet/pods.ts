/**
 * Ends every pod at once, for a node that is locked or goes down: kubelet and containerd, which would end them one by
 * one, have stopped. Leaves nothing that holds the state disk.
 */
import { closeSync, constants, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { unmount } from "../../native/mount.ts";
import { errnoOf } from "../error.ts";
import { PLACES } from "./places.ts";

/** Control groups (version 2) with the pods' processes, and with containerd's shims, which outlive it. */
const GROUPS = ["kubepods.slice", "system.slice/containerd.service"];
/** Below the state disk everything, whoever mounted it: pods' volumes, what a runtime of another version puts there. */
const PREFIXES = [PLACES.containerdState, PLACES.stateDisk];
const POLL = 20;
const PATIENCE = 5000;

export async function killPods(cgroups: string = PLACES.cgroups): Promise<void> {
  const groups = GROUPS.map((group) => join(cgroups, group));
  for (const group of groups) killGroup(group);
  const until = performance.now() + PATIENCE;
  while (groups.some(isPopulated) && performance.now() < until) await delay(POLL);
  await unmountBelow(PREFIXES);
}

/** One that is not there, or goes meanwhile, has no processes. */
function killGroup(group: string): void {
  try {
    const file = openSync(join(group, "cgroup.kill"), constants.O_WRONLY);
    try {
      writeSync(file, "1");
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== "ENOENT" && errno !== "ENODEV") throw error;
  }
}

/** @see cgroup-v2.rst, cgroup.events */
function isPopulated(group: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(join(group, "cgroup.events"), "utf8"));
  } catch {
    return false;
  }
}

/** The innermost first. What is busy all the same shows when the state disk is closed. */
async function unmountBelow(prefixes: readonly string[]): Promise<void> {
  for (const path of mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), prefixes)) {
    await unmount(path, "DETACH");
  }
}

/** @see proc_pid_mountinfo(5): the fifth field, with octal escapes */
export function mountsBelow(mountinfo: string, prefixes: readonly string[]): string[] {
  return mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((path) => prefixes.some((prefix) => path.startsWith(`${prefix}/`)))
    .toReversed();
}
