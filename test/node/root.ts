/**
 * Turns the root that every user-mode Linux guest shares into a node's: the units that the node image has and no
 * others, sealet's own, the executable, Kubernetes and its runtime, all from where set-up keeps them. Nothing is built
 * or copied for a test: programs come by read-only folders of the host, the rest is on the guest's tmpfs.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../image/artefact.ts";
import { executable } from "../../image/image.ts";
import { compiled } from "../../image/kubernetes.ts";
import { podImage, pauseImage } from "../../image/oci.ts";
import { twinProgram } from "../twin/program.ts";
import type { Share } from "../uml/guest.ts";
import { CHANNEL_SCRIPT } from "./channel.ts";

const KEEP = "image/system/keep.txt";
const UNITS = "usr/lib/systemd/system/";
const TMPFILES = "usr/lib/tmpfiles.d/";

/** Loaded before systemd starts: the guest has no udev that would. */
const MODULES = [
  ..."dm-mod dm-crypt dm-integrity dm-clone dm-zero aegis128 xts gcm hmac authenc cuse fuse configfs tun".split(
    " ",
  ),
  ..."overlay veth bridge br_netfilter algif_aead".split(" "),
];

/** Services of the image that a guest can do without: its network is set before systemd, its units have no DNS. */
const LEFT_OUT = ["systemd-networkd.service", "systemd-networkd.socket", "systemd-resolved.service"];

/** A unit of a test. */
export interface Unit {
  /** With suffix. */
  readonly name: string;
  readonly text: string;
}

const CHANNEL: Unit = {
  name: "test-channel.service",
  text: `
[Unit]
DefaultDependencies=no
After=local-fs.target
Conflicts=shutdown.target
[Service]
ExecStart=/bin/bash /run/test-channel
StandardOutput=journal
KillMode=process
`,
};

export interface Programs {
  readonly sealet: string;
  readonly kubernetes: string;
  readonly containerd: string;
  readonly runc: string;
  readonly cni: string;
  readonly pause: string;
  readonly twin: string;
  readonly pod: string;
}

/** Everything that a node runs, built at the first call on a machine. */
export async function programs(): Promise<Programs> {
  return {
    sealet: await executable(),
    kubernetes: await compiled("kubernetes"),
    containerd: await compiled("containerd"),
    runc: await compiled("runc"),
    cni: await compiled("cni"),
    pause: await pauseImage(),
    twin: await twinProgram(),
    pod: await podImage(),
  };
}

/** What the node image keeps of one of Debian's folders, as patterns for bash. */
function kept(folder: string): string {
  return readFileSync(join(root, KEEP), "utf8")
    .split("\n")
    .filter((line) => line.startsWith(folder))
    .map((line) => line.slice(folder.length).trim())
    .join(" ");
}

export interface RootOptions {
  readonly programs: Programs;
  readonly units: readonly Unit[];
  /** Names of units that are there, to be started with the others. */
  readonly wanted: readonly string[];
  /** Files of the test, by their path in the guest. */
  readonly files: Readonly<Record<string, string>>;
}

export function shares({ programs: from }: RootOptions): Share[] {
  return [
    { host: root },
    ...(["sealet", "kubernetes", "containerd", "runc", "cni", "twin"] as const).map((name) => ({
      host: from[name],
      guest: `/opt/${name}`,
    })),
    { host: join(from.pause, ".."), guest: "/opt/pause" },
    { host: join(from.pod, ".."), guest: "/opt/pod" },
  ];
}

const write = (path: string, text: string): string =>
  `mkdir -p '${join(path, "..")}'; cat > '${path}' << 'END-OF-FILE'\n${text}\nEND-OF-FILE`;

/** The guest's first script, up to systemd. */
export function initScript(options: RootOptions): string {
  const programsOf = (name: "kubernetes" | "containerd" | "runc") =>
    readdirSync(options.programs[name]).map((program) => `ln -s /opt/${name}/${program} /usr/bin/${program}`);
  const units = [CHANNEL, ...options.units];
  return [
    // Debian's units but those of the image, and every generator, are hidden.
    "mkdir -p /run/test/units /run/test/tmpfiles /run/test/none /opt",
    `bash -c 'cd /${UNITS} && cp -a ${kept(UNITS)} /run/test/units/; cd /${TMPFILES} && cp ${kept(TMPFILES)} /run/test/tmpfiles'`,
    `cd /run/test/units && rm -rf ${LEFT_OUT.join(" ")}`,
    "cd /; mount --bind /run/test/none /usr/lib/systemd/system-generators",
    `mount --bind /run/test/units /${UNITS}; mount --bind /run/test/tmpfiles /${TMPFILES}`,
    "rm -rf /etc/systemd/system/*",
    // What the image lays over Debian, without its users and its network.
    `tar -C ${root}/image/system/overlay -c --exclude=./etc/passwd --exclude=./etc/group --exclude=./etc/shadow` +
      " --exclude='*networkd*' --exclude=modules-load.d . | tar -C / -x --no-same-owner",
    `[ -d ${root}/systemd ] && cp -r ${root}/systemd/. /${UNITS}`,
    ...programsOf("kubernetes"),
    ...programsOf("containerd"),
    ...programsOf("runc"),
    "ln -s /opt/cni /usr/lib/cni",
    "mkdir -p /usr/lib/sealet /usr/share/sealet",
    "ln -s /opt/pause /usr/share/sealet/images",
    "for file in sealet koffi.node; do touch /usr/lib/sealet/$file; mount --bind /opt/sealet/$file /usr/lib/sealet/$file; done",
    "ln -s /usr/lib/sealet/sealet /usr/bin/sealet",
    "mkdir /run/twin; ln -s /opt/twin/node /opt/twin/twin.mjs /run/twin/",
    `cp /opt/twin/twin.service /${UNITS}`,
    write("/run/test-channel", CHANNEL_SCRIPT),
    ...units.flatMap(({ name, text }) => [write(`/${UNITS}${name}`, text)]),
    `mkdir -p /${UNITS}sysinit.target.wants`,
    ...[CHANNEL.name, ...options.wanted].map((name) => `ln -s ../${name} /${UNITS}sysinit.target.wants/`),
    ...Object.entries(options.files).map(([path, text]) => write(path, text)),
    // cadvisor, in kubelet, does not start without the clock rate, which user-mode Linux does not tell.
    "sed '/^bogomips/i cpu MHz\\t\\t: 2600.000' /proc/cpuinfo > /run/cpuinfo; mount --bind /run/cpuinfo /proc/cpuinfo",
    // io_uring's mappings break a process that forks, in user-mode Linux
    "echo 2 > /proc/sys/kernel/io_uring_disabled",
    `modprobe -a ${MODULES.join(" ")}`,
    "mount --make-rshared /",
    "exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd",
  ].join("\n");
}
