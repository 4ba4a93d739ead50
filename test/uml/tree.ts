/**
 * What every user-mode Linux guest boots: a Debian 13 root as a read-only ext4 image that any number of guests share,
 * and UML's kernel from the same Debian, with the C library it needs, so that the host's versions do not matter.
 */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { artefact, digest, type Build } from "../../image/artefact.ts";
import { command, SetupError } from "../../image/command.ts";
import { hostPackages } from "../../image/packages.ts";
import { mirror } from "../../image/tools.ts";

const PACKAGES = [
  "conntrack",
  "cryptsetup-bin",
  "dbus",
  "dmsetup",
  "e2fsprogs",
  "iproute2",
  "iptables",
  "kmod",
  "libatomic1", // Node
  "libcryptsetup12",
  "libseccomp2",
  "libstdc++6", // Node
  "mount",
  "nftables",
  "procps",
  "systemd",
  "systemd-sysv",
  "udev",
  "user-mode-linux",
] as const;

export interface GuestTree {
  /** The root file system's image, read-only, shared. */
  readonly image: string;
  /** A folder with the kernel and its C library, to be entered by chroot. */
  readonly kernel: string;
}

/** The guest tree, built at the first call on a machine (about a minute). @throws SetupError */
export async function guestTree(): Promise<GuestTree> {
  await hostPackages("iproute2"); // tap.ts
  const inputs = ["trixie", ...PACKAGES, await digest("test/uml/tree.ts", "test/uml/guest-init")];
  const folder = await artefact("uml", inputs, build, { megabytes: 3000 });
  return { image: join(folder, "root.img"), kernel: join(folder, "kernel") };
}

async function build({ folder, log }: Build): Promise<void> {
  if (process.arch !== "x64") throw new SetupError("User-mode Linux runs on x86_64 machines only.");
  await hostPackages("debootstrap", "debian-archive-keyring", "e2fsprogs");
  const tree = join(folder, "tree");
  await command(
    "debootstrap",
    [
      "--variant=minbase",
      "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
      `--include=${PACKAGES.join(",")}`,
      "trixie",
      tree,
      mirror,
    ],
    {
      log,
      label: "uml: Debian 13 guest",
      hint: `Set-up downloads Debian 13 from ${mirror}: check the network, or set SEALET_MIRROR.`,
    },
  );
  takeKernel(tree, join(folder, "kernel"));
  copyFileSync(join(import.meta.dirname, "guest-init"), join(tree, "usr/sbin/guest-init"));
  chmodSync(join(tree, "usr/sbin/guest-init"), 0o755);
  await command("mkfs.ext4", ["-q", "-F", "-m", "0", "-d", tree, join(folder, "root.img"), "1500M"], {
    log,
    label: "uml: image",
  });
  rmSync(tree, { recursive: true });
}

/** Moves the kernel out of the tree, its modules to where modprobe looks, and drops what no guest reads. */
function takeKernel(tree: string, kernel: string): void {
  const files = ["usr/bin/linux.uml", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"];
  for (const folder of ["usr/bin", "lib64", "lib/x86_64-linux-gnu", "dev", "proc", "tmp", "host"])
    mkdirSync(join(kernel, folder), { recursive: true });
  for (const file of files) copyFileSync(join(tree, file), join(kernel, file));
  const [version] = readdirSync(join(tree, "usr/lib/uml/modules"));
  if (version === undefined) throw new SetupError("Debian's user-mode-linux package has no modules.");
  mkdirSync(join(tree, "usr/lib/modules"), { recursive: true });
  renameSync(join(tree, "usr/lib/uml/modules", version), join(tree, "usr/lib/modules", version));
  const unused = ["usr/bin/linux.uml", "usr/share/doc", "usr/share/man", "usr/share/locale"];
  for (const path of [...unused, "var/cache/apt", "var/lib/apt/lists"])
    rmSync(join(tree, path), { recursive: true, force: true });
}
