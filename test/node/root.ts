/**
 * Turns the root that every user-mode Linux guest shares into a node's: the units that the node image has and no
 * others, sealet's own, the executable, Kubernetes and its runtime. Nothing is built for a test: programs come from
 * set-up's cache by a read-only folder of the host, the few small files are laid into the guest's tmpfs.
 */
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { PhaseName } from "../../agent/boot/phase.ts";
import { cacheFolder, root } from "../../image/artefact.ts";
import { executable } from "../../image/image.ts";
import { compiled } from "../../image/kubernetes.ts";
import { pauseImage, podImage } from "../../image/oci.ts";
import { twinCaFolder } from "../twin/ca-folder.ts";
import { twinProgram } from "../twin/program.ts";
import type { Share } from "../uml/guest.ts";
import { CHANNEL_SCRIPT } from "./channel.ts";

const KEEP = "image/system/keep.txt";
const UNITS = "usr/lib/systemd/system/";
const TMPFILES = "usr/lib/tmpfiles.d/";
const CACHE = "/opt/cache";
const STAGE = "/run/stage";

/** What of the image a guest does without: its network is set before systemd, it has no DNS, and Debian's users do. */
const LEFT_OUT = [
  /systemd-networkd|systemd-resolved|systemd\/network$/u,
  /modules-load\.d/u,
  /etc\/(?:passwd|group|shadow)$/u,
];

/** A unit of a test. */
export interface Unit {
  /** With suffix. */
  readonly name: string;
  readonly text: string;
}

/** In the guest's folder. */
export const EVENTS_FILE = "events.jsonl";

const CHANNEL: Unit = {
  name: "test-channel.service",
  text: `
[Unit]
DefaultDependencies=no
After=local-fs.target
Conflicts=shutdown.target
[Service]
ExecStart=/bin/bash /usr/lib/test-channel
StandardOutput=journal
KillMode=process
`,
};

/** Copies the agent's events to the host as they come. */
const EVENTS: Unit = {
  name: "test-events.service",
  text: `
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
[Service]
ExecStartPre=/bin/mkdir -p -m 700 /run/sealet
ExecStart=/bin/bash -c 'exec tail -n +1 -s 0.1 -F /run/sealet/events.jsonl > /guest/${EVENTS_FILE} 2> /dev/null'
`,
};

/** Everything that a node runs; each a folder of the cache. */
export interface Programs {
  readonly sealet: string;
  readonly kubernetes: string;
  readonly containerd: string;
  readonly runc: string;
  readonly cni: string;
  readonly pause: string;
  readonly pod: string;
  readonly twin: string;
  readonly twinCa: string;
}

let built: Promise<Programs> | undefined;

/** Built at the first call on a machine. */
export async function programs(): Promise<Programs> {
  built ??= build();
  return built;
}

async function build(): Promise<Programs> {
  return {
    sealet: await executable(),
    kubernetes: await compiled("kubernetes"),
    containerd: await compiled("containerd"),
    runc: await compiled("runc"),
    cni: await compiled("cni"),
    pause: dirname(await pauseImage()),
    pod: dirname(await podImage()),
    twin: await twinProgram(),
    twinCa: await twinCaFolder(),
  };
}

/** Where the guest has a folder of the cache. */
export function inGuest(folder: string): string {
  return join(CACHE, basename(folder));
}

export interface RootOptions {
  readonly programs: Programs;
  readonly units: readonly Unit[];
  /** Names of units that are there, to be started with the others. */
  readonly wanted: readonly string[];
  /** Files of the test, by their path in the guest. */
  readonly files: Readonly<Record<string, string>>;
}

/** The guest's folders of the host, among them the stage that `stageRoot` filled. */
export function shares(stage: string): Share[] {
  return [
    { host: cacheFolder, guest: CACHE },
    { host: stage, guest: STAGE },
  ];
}

const isLaid = (path: string): boolean => !LEFT_OUT.some((pattern) => pattern.test(path));

/** Lays everything that is not a program of the cache or Debian's into a folder. */
export function stageRoot(stage: string, { programs: from, units, wanted, files }: RootOptions): void {
  const put = (path: string, text: string): void => {
    mkdirSync(join(stage, dirname(path)), { recursive: true });
    writeFileSync(join(stage, path), text);
  };
  const link = (target: string, path: string): void => {
    mkdirSync(join(stage, dirname(path)), { recursive: true });
    symlinkSync(target, join(stage, path));
  };
  const lay = (folder: string, to: string): void => {
    const options = { recursive: true, verbatimSymlinks: true, filter: isLaid };
    cpSync(join(root, folder), join(stage, to), options);
  };
  lay("image/system/overlay", "");
  lay("systemd", UNITS);
  for (const name of ["kubernetes", "containerd", "runc"] as const)
    for (const program of readdirSync(from[name]))
      link(join(inGuest(from[name]), program), `usr/bin/${program}`);
  link("/usr/lib/sealet/sealet", "usr/bin/sealet");
  link(inGuest(from.cni), "usr/lib/cni");
  link(join(inGuest(from.pause), "image"), "usr/share/sealet/images/pause");
  // Mount points: beside the executable it must find its library.
  for (const file of ["sealet", "koffi.node"]) put(`usr/lib/sealet/${file}`, "");
  for (const file of ["node", "twin.cjs"]) link(join(inGuest(from.twin), file), `run/twin/${file}`);
  put(`${UNITS}twin.service`, readFileSync(join(from.twin, "twin.service"), "utf8"));
  put("usr/lib/test-channel", CHANNEL_SCRIPT);
  for (const { name, text } of [CHANNEL, EVENTS, ...units]) put(`${UNITS}${name}`, text);
  for (const name of [CHANNEL.name, EVENTS.name, ...wanted])
    link(`../${name}`, `${UNITS}sysinit.target.wants/${name}`);
  for (const [path, text] of Object.entries(files)) put(path, text);
  chmodSync(stage, 0o755);
}

/** What the node image keeps of one of Debian's folders, as patterns for bash. */
function kept(folder: string): string {
  return readFileSync(join(root, KEEP), "utf8")
    .split("\n")
    .filter((line) => line.startsWith(folder))
    .map((line) => line.slice(folder.length).trim())
    .join(" ");
}

/** The guest's first script, up to systemd. */
export function initScript({ programs: { sealet } }: Pick<RootOptions, "programs">): string {
  return [
    // Debian's units but those of the image, and every generator, are hidden.
    "mkdir -p /run/test/units /run/test/tmpfiles /run/test/none",
    `bash -c 'cd /${UNITS} && cp -a ${kept(UNITS)} /run/test/units/; cd /${TMPFILES} && cp ${kept(TMPFILES)} /run/test/tmpfiles' 2> /dev/null`,
    "mount --bind /run/test/none /usr/lib/systemd/system-generators",
    `mount --bind /run/test/units /${UNITS}; mount --bind /run/test/tmpfiles /${TMPFILES}`,
    "rm -rf /etc/systemd/system",
    `cp -a ${STAGE}/. /; umount ${STAGE}`,
    ...["sealet", "koffi.node"].map(
      (file) => `mount --bind ${join(inGuest(sealet), file)} /usr/lib/sealet/${file}`,
    ),
    // cadvisor, in kubelet, does not start without the clock rate, which user-mode Linux does not tell.
    "sed '/^bogomips/i cpu MHz\\t\\t: 2600.000' /proc/cpuinfo > /run/cpuinfo; mount --bind /run/cpuinfo /proc/cpuinfo",
    // The kernel asks for the others as they are used; only a device file must be there first.
    "modprobe dm-mod",
    "mount --make-rshared /",
    "exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd",
  ].join("\n");
}

/** For `NodeOptions.files`: the agent stops after a phase and waits. */
export function upTo(phase: PhaseName): Readonly<Record<string, string>> {
  const start = `[Service]\nExecStart=\nExecStart=/usr/lib/sealet/sealet agent --until ${phase}\n`;
  return { "/etc/systemd/system/sealet.service.d/until.conf": start };
}
