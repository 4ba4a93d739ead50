/** The initrd: one static program (`initrd/*.go`), the disk drivers it loads, the command line it accepts. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { artefact, digest, root } from "./artefact.ts";
import { command } from "./command.ts";
import { go, GO, SMALL } from "./kubernetes.ts";
import { moduleGraph, walk } from "./tree.ts";
import { inTools } from "./tools.ts";

/** What it takes to reach the root: transports, disks, verity, the file system. */
const MODULES = [
  "virtio_blk",
  "virtio_scsi",
  "sd_mod",
  "nvme",
  "hv_storvsc",
  "sha256-ssse3",
  "dm-verity",
  "erofs",
];

/** The measured command line, without the root hash. */
export function commandLine(): string {
  return readFileSync(join(root, "image/system/cmdline.txt"), "utf8").trim();
}

/** A small static program of the image, compiled from a folder of Go. */
export async function staticProgram(name: string): Promise<string> {
  const source = `image/${name}`;
  const inputs = [name, JSON.stringify(GO), ...SMALL, await digest(source)];
  const folder = await artefact(name, inputs, async ({ folder: out, log }) => {
    const label = `${name}: compiling`;
    await go(["build", ...SMALL, "-o", join(out, name), "."], { cwd: join(root, source), log, label });
  });
  return join(folder, name);
}

/** Writes the initrd for a root's kernel modules. @param modules the folder /usr/lib/modules/<release> of the root */
export async function writeInitrd(
  work: { readonly tools: string; readonly program: string; readonly log: string; readonly epoch: string },
  modules: string,
  file: string,
): Promise<void> {
  const tree = `${file}.tree`;
  for (const folder of ["proc", "sys", "dev", "sysroot", "modules"])
    mkdirSync(join(tree, folder), { recursive: true });
  copyFileSync(work.program, join(tree, "init"));
  writeFileSync(join(tree, "cmdline"), `${commandLine()}\n`);
  const graph = moduleGraph(readFileSync(join(modules, "modules.dep"), "utf8"));
  const files = new Set<string>();
  for (const name of MODULES) {
    const own = graph.file(name);
    if (own !== undefined) for (const one of [...graph.needs(own), own]) files.add(one);
  }
  const index: string[] = [];
  for (const one of files) {
    copyFileSync(join(modules, one), join(tree, "modules", basename(one)));
    const needs = graph.needs(one).toReversed();
    index.push(`${basename(one)}: ${needs.map((need) => basename(need)).join(" ")}\n`);
  }
  writeFileSync(join(tree, "modules/modules.dep"), index.join(""));
  writeFileSync(join(tree, "modules/order"), MODULES.map((name) => `${name}\n`).join(""));
  const names = `${file}.names`;
  writeFileSync(names, walk(tree).join("\n"));
  const pack = `find . -exec touch -hd @${work.epoch} {} + &&
    cpio -o --reproducible --quiet -H newc -R 0:0 < ${names} | zstd -q -19 -T1 > ${file}`;
  const options = { log: work.log, label: "image: initrd" };
  await command(...inTools(work.tools, { cwd: tree }, "sh", ["-ec", pack]), options);
}
