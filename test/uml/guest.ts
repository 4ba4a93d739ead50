/**
 * Starts user-mode Linux guests: a Debian 13 kernel and userland at native speed, without KVM, each with disks of its
 * own, folders of the host, and the first script it runs. A guest never outlives the process that started it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { Console } from "./console.ts";
import { guestTree } from "./tree.ts";
import type { Tap } from "./tap.ts";

interface Disk {
  /** A file of the host; its size is the disk's. A second guest can't open it while the first runs. */
  readonly path: string;
  /** Shown in the guest as /sys/block/ubdX/serial. */
  readonly serial?: string;
  readonly readOnly?: boolean;
}

export interface Share {
  /** A folder of the host. */
  readonly host: string;
  /** Where the guest sees it; by default at the same path. */
  readonly guest?: string;
  readonly writable?: boolean;
}

export interface GuestOptions {
  /** POSIX shell, run as the first process with /proc, /sys, /dev, /run, /tmp mounted: `exec` an init, or `power_off`. */
  readonly script: string;
  /** In megabytes. */
  readonly memory?: number;
  /** /dev/ubdb and so on, in this order (/dev/ubda is the root). */
  readonly disks?: readonly Disk[];
  readonly shares?: readonly Share[];
  /** The device vec0 in the guest, with its address and a default route to the host. */
  readonly network?: Tap;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds after which the guest is killed. */
  readonly timeout: number;
  readonly onConsole?: (text: string) => void;
  /** More kernel parameters. */
  readonly parameters?: readonly string[];
  /** A two-way line between the host (`Guest.channel`) and the guest's /dev/tty1. */
  readonly channel?: boolean;
}

export interface GuestEnd {
  readonly how: "power-off" | "panic" | "timeout" | "killed";
  /** Everything that was printed, without carriage returns. */
  readonly console: string;
}

export interface Guest {
  readonly pid: number;
  /** A folder of the host that the guest sees as /guest, writable; removed by `dispose`. */
  readonly folder: string;
  readonly ended: Promise<GuestEnd>;
  readonly console: Console;
  /** The host's end of the guest's /dev/tty1, where it was asked for. */
  readonly channel: Duplex | undefined;
  /** A power cut: the guest is gone at once; what it had not synced to its disks' files is in the host's cache. */
  kill(): Promise<GuestEnd>;
  [Symbol.asyncDispose](): Promise<void>;
}

// Enters the kernel's folder with the whole host visible under /host, in namespaces of its own. The shell stays, as
// the first process of its PID namespace: when it ends, however it ends, the host kills the kernel's helper processes.
// (The kernel itself can't be that process: its abort after a panic would be ignored.)
const ENTER = `
set -e
kernel=$1; shift
mount --rbind / "$kernel/host"
mount --rbind /dev "$kernel/dev"
mount -t proc proc "$kernel/proc"
mount -t tmpfs tmpfs "$kernel/tmp"
chroot "$kernel" /usr/bin/linux.uml "$@" || exit`;

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Boots a guest; it is up in about a second. */
export async function startGuest(options: GuestOptions): Promise<Guest> {
  const tree = await guestTree();
  const folder = mkdtempSync(join(tmpdir(), "sealet-guest-"));
  writeFileSync(join(folder, "init"), initScript(options));
  const disks = (options.disks ?? []).map(
    ({ path, serial, readOnly }, index) =>
      `ubd${index + 1}${readOnly === true ? "rc" : ""}=/host${path}${serial === undefined ? "" : `,,${serial}`}`,
  );
  const child = spawn(
    "setpriv",
    [
      ..."--pdeathsig KILL unshare --mount --pid --fork --kill-child --propagation private".split(" "),
      "sh",
      "-c",
      ENTER,
      "sealet-guest",
      tree.kernel,
      ..."root=/dev/ubda ro init=/usr/sbin/guest-init raid=noautodetect quiet".split(" "),
      ..."con=null con0=null,fd:1 ssl=null uml_dir=/tmp/".split(" "),
      `mem=${options.memory ?? 512}M`,
      `ubd0rc=/host${tree.image}`,
      `guest_folder=/host${folder}`,
      ...disks,
      ...(options.network === undefined ? [] : [options.network.parameter]),
      ...(options.channel === true ? ["con1=fd:3"] : []),
      ...(options.parameters ?? []),
    ],
    {
      stdio: ["ignore", "pipe", "pipe", options.channel === true ? "pipe" : "ignore"],
      detached: true,
      env: { PATH: process.env["PATH"] ?? "" },
    },
  );
  await once(child, "spawn");
  const { pid } = child;
  if (pid === undefined) throw new Error("the guest has no process");

  const screen = new Console();
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      screen.add(chunk);
      options.onConsole?.(chunk.replaceAll("\r", ""));
    });

  const killed: ("killed" | "timeout")[] = [];
  const kill = (why: "killed" | "timeout"): void => {
    killed.push(why);
    killGroup(pid);
  };
  const timer = setTimeout(kill, options.timeout, "timeout");
  const ended = once(child, "close").then((): GuestEnd => {
    clearTimeout(timer);
    killGroup(pid);
    screen.close();
    // User-mode Linux may abort while it ends its processes, when the guest's kernel has powered down already.
    const off = child.exitCode === 0 || screen.text.includes("reboot: Power down");
    return { how: killed[0] ?? (off ? "power-off" : "panic"), console: screen.text };
  });
  return {
    pid,
    folder,
    ended,
    console: screen,
    channel: child.stdio[3] instanceof Duplex ? child.stdio[3] : undefined,
    async kill() {
      kill("killed");
      return ended;
    },
    async [Symbol.asyncDispose]() {
      kill("killed");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The process that waits for the kernel, and the kernel. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // all of it has ended
  }
}

function initScript({ script, shares = [], env = {}, network }: GuestOptions): string {
  return [
    "mount -t proc proc /proc; mount -t sysfs sysfs /sys",
    "umount -l /mnt",
    "mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm",
    "mount -t tmpfs -o mode=755 tmpfs /run; mount -t tmpfs -o mode=1777 tmpfs /tmp",
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    // io_uring's mappings break a process that forks, in user-mode Linux
    "echo 2 > /proc/sys/kernel/io_uring_disabled",
    "ip link set lo up",
    ...(network === undefined ? [] : network.commands),
    ...shares.flatMap(({ host, guest = host, writable }) => [
      `mkdir -p ${quote(guest)}`,
      `mount -t hostfs -o hostfs=${quote(`/host${host}`)}${writable === true ? "" : ",ro"} share ${quote(guest)}`,
    ]),
    ...Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)}`),
    "power_off() { sync; echo o > /proc/sysrq-trigger; sleep 60; }",
    script,
  ].join("\n");
}
