/**
 * The node image: an erofs root under dm-verity and a unified kernel image whose measured command line carries the
 * root hash, on one GPT disk. Two flavours: `release`, and `lab`, which has the files of `system/lab/` more (and takes
 * a TEE from a test's disk); nothing else differs.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { artefact, checkFirstTime, digest, root, type Build } from "./artefact.ts";
import { baseTree, packageCount } from "./base.ts";
import { buildExecutable } from "./bundle.ts";
import { command } from "./command.ts";
import { dmCloneModule } from "./dm-clone.ts";
import { commandLine, staticProgram, writeInitrd } from "./initrd.ts";
import { compiled } from "./kubernetes.ts";
import { pauseImage } from "./oci.ts";
import { say } from "./progress.ts";
import { inTools, toolsTree } from "./tools.ts";
import { checkTree, copyKept, copyLibraries, copyModules, kernelRelease, walk } from "./tree.ts";

export type Flavour = "release" | "lab";

export interface Image {
  readonly folder: string;
  /** The whole disk. */
  readonly disk: string;
  /** The unified kernel image, also on the disk's ESP. */
  readonly uki: string;
  readonly rootHash: string;
  readonly facts: ImageFacts;
}

const factsSchema = z.object({
  rootHash: z.string(),
  /** Of the unified kernel image. */
  ukiSha384: z.string(),
  kernel: z.string(),
  debianPackages: z.number(),
  files: z.number(),
  treeBytes: z.number(),
  diskBytes: z.number(),
  rootBytes: z.number(),
  ukiBytes: z.number(),
  initrdBytes: z.number(),
  executableBytes: z.number(),
});

export type ImageFacts = z.infer<typeof factsSchema>;

/** Larger clusters compress better: less is read and hashed at each boot. */
const EROFS = { SYSTEMD_REPART_MKFS_OPTIONS_EROFS: "-C65536" };

/** All times in the image: it must not tell when it was built. */
const EPOCH = "1763800000";
const SEED = "3c0a6a1e-0b3e-4f5e-9f0b-1b6e6d2f7a11";

const SOURCES = [
  "image/system",
  "image/initrd",
  "image/tree.ts",
  "image/initrd.ts",
  "image/image.ts",
  "systemd",
];
const EXECUTABLE = ["agent", "native", "image/bundle.ts", "package.json", "package-lock.json"];

/** The image, built if its inputs changed. */
export async function nodeImage(flavour: Flavour): Promise<Image> {
  checkFirstTime();
  const parts = {
    tools: await toolsTree(),
    base: await baseTree(),
    kubernetes: await compiled("kubernetes"),
    containerd: await compiled("containerd"),
    runc: await compiled("runc"),
    cni: await compiled("cni"),
    pause: await pauseImage(),
    dmClone: await dmCloneModule(),
    initrd: await staticProgram("initrd"),
    power: await staticProgram("power"),
    sealet: await executable(),
  };
  const inputs = [flavour, ...Object.values(parts), await digest(...SOURCES)];
  const folder = await artefact(`image-${flavour}`, inputs, (to) => build(flavour, parts, to), {
    megabytes: 2500,
  });
  const facts = factsSchema.parse(JSON.parse(readFileSync(join(folder, "image.json"), "utf8")));
  return {
    folder,
    disk: join(folder, "disk.raw"),
    uki: join(folder, "sealet.efi"),
    rootHash: facts.rootHash,
    facts,
  };
}

/** The one executable, as folder with its library. `SEALET_EXECUTABLE` names one that was built before. */
export async function executable(): Promise<string> {
  const given = process.env["SEALET_EXECUTABLE"];
  if (given !== undefined) {
    // kept by what is in it: the same path may hold another one tomorrow
    const files = ["sealet", "koffi.node"].map((name) => join(given, name));
    const hashes = files.map((file) => createHash("sha256").update(readFileSync(file)).digest("hex"));
    return artefact("sealet-given", hashes, ({ folder }) => {
      for (const file of files) copyFileSync(file, join(folder, basename(file)));
      return Promise.resolve();
    });
  }
  return artefact("sealet", [await digest(...EXECUTABLE)], async ({ folder }) => {
    await buildExecutable(folder);
  });
}

interface Parts {
  readonly tools: string;
  readonly base: string;
  readonly kubernetes: string;
  readonly containerd: string;
  readonly runc: string;
  readonly cni: string;
  readonly pause: string;
  readonly dmClone: string;
  readonly initrd: string;
  readonly power: string;
  readonly sealet: string;
}

async function build(flavour: Flavour, parts: Parts, { folder, log }: Build): Promise<void> {
  const base = join(parts.base, "tree");
  const context = { base, tools: parts.tools, log };
  const tree = join(folder, "tree");
  mkdirSync(tree);
  await copyKept(context, tree);
  // setuid in Debian; whoever mounts here is root
  for (const program of ["mount", "umount"]) chmodSync(join(tree, "usr/bin", program), 0o755);
  placeOwnFiles(flavour, parts, tree);
  await copyLibraries(context, tree);
  await copyModules(context, tree, [parts.dmClone]);
  const inTree = (program: string, args: string[]) =>
    command(...inTools(parts.tools, {}, program, args), { log, label: `image: ${program}` });
  await inTree("systemd-sysusers", [`--root=${tree}`]);
  await inTree("ldconfig", ["-r", tree]);
  for (const left of [
    "etc/.pwd.lock",
    "var/cache",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "usr/lib/sysusers.d",
  ])
    rmSync(join(tree, left), { recursive: true, force: true });
  checkTree(context, tree); // before chown, which would clear what it looks for
  await command("chown", ["-R", "--no-dereference", "0:0", tree], { log, label: "image: owners" });
  await command("find", [tree, "-exec", "touch", "-hd", `@${EPOCH}`, "{}", "+"], {
    log,
    label: "image: times",
  });
  await pack(parts, tree, { folder, log }, flavour);
}

/** sealet's files, the units, Kubernetes and its runtime. */
function placeOwnFiles(flavour: Flavour, parts: Parts, tree: string): void {
  const put = (from: string, to: string, mode: number) => {
    mkdirSync(join(tree, to, ".."), { recursive: true });
    cpSync(from, join(tree, to));
    chmodSync(join(tree, to), mode);
  };
  put(join(parts.sealet, "sealet"), "usr/lib/sealet/sealet", 0o755);
  put(join(parts.sealet, "koffi.node"), "usr/lib/sealet/koffi.node", 0o644);
  put(join(parts.kubernetes, "kubelet"), "usr/bin/kubelet", 0o755);
  for (const name of ["containerd", "containerd-shim-runc-v2"])
    put(join(parts.containerd, name), `usr/bin/${name}`, 0o755);
  put(join(parts.runc, "runc"), "usr/bin/runc", 0o755);
  for (const name of ["bridge", "host-local", "loopback", "portmap", "ptp"])
    put(join(parts.cni, name), `usr/lib/cni/${name}`, 0o755);
  put(parts.power, "usr/lib/sealet/power-button", 0o755);
  cpSync(parts.pause, join(tree, "usr/share/sealet/images/pause"), { recursive: true });
  const overlays = ["image/system/overlay", ...(flavour === "lab" ? ["image/system/lab"] : [])];
  for (const overlay of overlays)
    cpSync(join(root, overlay), tree, { recursive: true, verbatimSymlinks: true });
  placeUnits(tree);
  for (const path of walk(tree).filter((one) => one.startsWith("etc/")))
    if (lstatSync(join(tree, path)).isFile())
      chmodSync(join(tree, path), path === "etc/shadow" ? 0o600 : 0o644);
}

/** Of systemd/ what a node runs; the key service is not in its image. */
const UNITS = ["sealet.service", "containerd.service", "kubelet.service", "multi-user.target.wants"];

function placeUnits(tree: string): void {
  for (const unit of UNITS) {
    const to = join(tree, "usr/lib/systemd/system", unit);
    cpSync(join(root, "systemd", unit), to, { recursive: true, verbatimSymlinks: true });
  }
}

/** What systemd-repart answers of each partition. */
const partitionsSchema = z.array(
  z.object({ type: z.string(), raw_size: z.number(), roothash: z.string().nullish() }),
);

async function pack(parts: Parts, tree: string, { folder, log }: Build, flavour: Flavour): Promise<void> {
  const release = kernelRelease(tree);
  const kernel = join(parts.base, "tree/usr/lib/modules", release, "vmlinuz");
  const initrd = join(folder, "initrd");
  await writeInitrd(
    { tools: parts.tools, program: parts.initrd, log, epoch: EPOCH },
    join(tree, "usr/lib/modules", release),
    initrd,
  );
  const disk = join(folder, "disk.raw");
  const definitions = join(root, "image/system/repart");
  const env = { SOURCE_DATE_EPOCH: EPOCH, SYSTEMD_LOG_LEVEL: "warning", TMPDIR: folder, ...EROFS };
  const run = (program: string, args: readonly string[], label: string) =>
    command(...inTools(parts.tools, { env }, program, args), { log, label });
  const repart = (args: readonly string[], answer: string) =>
    run(
      "sh",
      ["-ec", 'answer=$1; shift; systemd-repart "$@" > "$answer"', "sh", answer].concat(
        `--definitions=${definitions}`,
        `--seed=${SEED}`,
        "--sector-size=512",
        "--offline=yes",
        "--dry-run=no",
        "--json=short",
        "--no-pager",
        ...args,
        disk,
      ),
      "image: partitions",
    );
  const answer = join(folder, "repart.json");
  await repart(["--empty=create", "--size=auto", "--defer-partitions=esp", `--copy-source=${tree}`], answer);
  const partitions = partitionsSchema.parse(JSON.parse(readFileSync(answer, "utf8")));
  const rootHash = partitions.map(({ roothash }) => roothash).find((hash) => typeof hash === "string");
  if (rootHash === undefined)
    throw new Error(`systemd-repart told no root hash: ${readFileSync(answer, "utf8")}`);
  const esp = join(folder, "esp");
  mkdirSync(join(esp, "EFI/BOOT"), { recursive: true });
  const uki = join(folder, "sealet.efi");
  const cmdline = join(folder, "cmdline");
  writeFileSync(cmdline, `${commandLine()} roothash=${rootHash}`);
  await run(
    "ukify",
    [
      "build",
      `--linux=${kernel}`,
      `--initrd=${initrd}`,
      `--cmdline=@${cmdline}`,
      `--os-release=@${join(tree, "usr/lib/os-release")}`,
      `--uname=${release}`,
      "--stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
      `--output=${uki}`,
    ],
    "image: unified kernel image",
  );
  cpSync(uki, join(esp, "EFI/BOOT/BOOTX64.EFI"));
  await command("find", [esp, "-exec", "touch", "-hd", `@${EPOCH}`, "{}", "+"], {
    log,
    label: "image: times",
  });
  await repart([`--copy-source=${esp}`], answer);
  const paths = walk(tree);
  const facts: ImageFacts = {
    rootHash,
    ukiSha384: createHash("sha384").update(readFileSync(uki)).digest("hex"),
    kernel: release,
    debianPackages: packageCount(parts.base),
    files: paths.length,
    treeBytes: paths
      .map((path) => lstatSync(join(tree, path)))
      .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0),
    diskBytes: statSync(disk).size,
    rootBytes: partitions.find(({ type }) => type === "root-x86-64" || type === "root")?.raw_size ?? 0,
    ukiBytes: statSync(uki).size,
    initrdBytes: statSync(initrd).size,
    executableBytes: statSync(join(parts.sealet, "sealet")).size,
  };
  writeFileSync(join(folder, "image.json"), `${JSON.stringify(facts, undefined, 2)}\n`);
  writeFileSync(join(folder, "files.txt"), `${paths.join("\n")}\n`);
  for (const left of [tree, `${initrd}.tree`, `${initrd}.names`, esp, answer])
    rmSync(left, { recursive: true, force: true });
  say(`image-${flavour}: root hash ${rootHash}`);
}
