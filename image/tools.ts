/**
 * A Debian 13 tree with everything that builds and boots the image (mkosi, repart, ukify, erofs, QEMU, OVMF, swtpm, Go,
 * a C compiler), so that the host's own versions do not matter. Programs run in it by `pivot_root` in a mount namespace
 * of their own: in a mere chroot the kernel would refuse the user namespaces that mkosi needs.
 */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artefact, cacheFolder, root, type Build } from "./artefact.ts";
import { command, SetupError } from "./command.ts";
import { hostPackages } from "./packages.ts";

const PACKAGES = [
  "apt",
  "bubblewrap",
  "busybox-static",
  "cpio",
  "cryptsetup-bin",
  "debian-archive-keyring",
  "dosfstools",
  "e2fsprogs",
  "erofs-utils",
  "gcc",
  "golang-go",
  "kmod",
  "libcap2-bin",
  "libelf1t64",
  "make",
  "libc6-dev",
  "libseccomp-dev",
  "mkosi",
  "mtools",
  "ovmf",
  "pkgconf",
  "qemu-system-x86",
  "swtpm",
  "systemd-boot-efi",
  "systemd-repart",
  "systemd-ukify",
  "uidmap",
  "zstd",
] as const;

/** Where Debian comes from; `SEALET_MIRROR` names another mirror. */
export const mirror = process.env["SEALET_MIRROR"] ?? "http://deb.debian.org/debian";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

function source(suites: string, uri: string): string {
  return `Types: deb\nURIs: ${uri}\nSuites: ${suites}\nComponents: main\nSigned-By: ${KEYRING}\n\n`;
}

/** Debian's repositories in apt's format: of the tools, of the image, of the kernel's source. */
export function repositories(): string {
  const security = mirror.replace(/debian\/?$/u, "debian-security");
  return source("trixie trixie-updates", mirror) + source("trixie-security", security);
}

/** The tools tree's folder. */
export async function toolsTree(): Promise<string> {
  return artefact("tools", [...PACKAGES, repositories(), build.toString()], build, { megabytes: 4000 });
}

async function build({ folder, log }: Build): Promise<void> {
  if (process.arch !== "x64")
    throw new SetupError("The image is built and booted on x86_64 machines only, so far.");
  await hostPackages("debootstrap", "debian-archive-keyring");
  const hint = `Set-up downloads Debian 13 from ${mirror}: check the network, or set SEALET_MIRROR.`;
  // ca-certificates now: later its folder is the host's, which it must not rewrite
  const options = ["--variant=minbase", "--include=ca-certificates", `--keyring=${KEYRING}`];
  await command("debootstrap", [...options, "trixie", folder, mirror], {
    log,
    label: "tools: Debian 13 base",
    hint,
  });
  copyFileSync("/etc/resolv.conf", join(folder, "etc/resolv.conf"));
  rmSync(join(folder, "etc/apt/sources.list"), { force: true });
  writeFileSync(join(folder, "etc/apt/sources.list.d/debian.sources"), repositories());
  const apt = (label: string, ...args: string[]) => {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    const [program, argv] = inTools(folder, { binds: [], env }, "apt-get", ["-q", "-y", ...args]);
    return command(program, argv, { log, label, hint });
  };
  await apt("tools: package lists", "update");
  await apt("tools: security updates", "dist-upgrade", "--no-install-recommends");
  await apt("tools: packages", "install", "--no-install-recommends", ...PACKAGES);
  for (const waste of ["var/cache/apt/archives", "usr/share/doc", "usr/share/man"])
    rmSync(join(folder, waste), { recursive: true, force: true });
}

export interface InTools {
  /** Folders that are seen at the same path; the cache and the checkout always are. */
  readonly binds?: readonly string[];
  readonly cwd?: string;
  /** Added to that of `command`. */
  readonly env?: Readonly<Record<string, string>>;
}

// $1: tree, $2: working folder, $3..: binds up to "--", then the command. Name service and trusted CAs are the host's:
// a proxy of the network may need both. Read-only: nothing that is installed in the tree may change them.
const ENTER = `
set -e
tree=$1 cwd=$2; shift 2
mount --bind "$tree" "$tree"
while [ "$1" != -- ]; do mount --rbind "$1" "$tree$1"; shift; done; shift
for file in resolv.conf ssl/certs; do
  [ -e "/etc/$file" ] || continue
  mount --bind "/etc/$file" "$tree/etc/$file"
  mount -o remount,bind,ro "$tree/etc/$file"
done
for system in dev sys proc; do mount --rbind "/$system" "$tree/$system"; done
cd "$tree"
pivot_root . .
umount -l .
cd "$cwd"
exec "$@"`;

/** The program and arguments that run a program of the tools tree; the process stays the same by `exec`. */
export function inTools(
  tree: string,
  options: InTools,
  program: string,
  args: readonly string[],
): [program: string, args: string[]] {
  const binds = [...new Set([cacheFolder, root, ...(options.binds ?? [])])].toSorted();
  for (const path of binds) mkdirSync(join(tree, path), { recursive: true });
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root", ...options.env };
  return [
    "unshare",
    [
      ...["--mount", "--propagation", "private", "sh", "-c", ENTER, "sealet-tools"],
      ...[tree, options.cwd ?? "/", ...binds, "--"],
      ...[
        ...["/usr/bin/env", "-u", "TMPDIR"],
        ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
        program,
        ...args,
      ],
    ],
  ];
}
