/**
 * The node image's root: what the allow-lists keep of Debian, sealet's own files, Kubernetes and its runtime. Nothing
 * gets in by being part of a package.
 *
 * INVARIANT: no program in it reads commands from a person or a file: no shell, no interpreter, no package manager.
 */
import {
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
} from "node:fs";
import { closeSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { root } from "./artefact.ts";
import { command, output, SetupError } from "./command.ts";
import { inTools } from "./tools.ts";

/** Lines of a list, without comments; several entries may stand in a line. */
export function list(file: string): string[] {
  return readFileSync(join(root, "image/system", file), "utf8")
    .split("\n")
    .map((line) => line.replace(/#.*$/u, "").trim())
    .filter((line) => line !== "");
}

/** Every file, folder and link below a folder, relative to it; links are not followed. */
export function walk(folder: string, below = ""): string[] {
  return readdirSync(join(folder, below), { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(below, entry.name);
      return entry.isDirectory() ? [path, ...walk(folder, path)] : [path];
    });
}

export interface TreeContext {
  readonly base: string;
  readonly tools: string;
  readonly log: string;
}

const LIBRARIES = ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd"];

/** Copies what keep.txt names, and the folders and links of the root, with owners and modes. */
export async function copyKept(context: TreeContext, tree: string): Promise<void> {
  const kept = new Set<string>(["bin", "sbin", "lib", "lib64"]);
  for (const pattern of list("keep.txt")) {
    const found = globSync(pattern, { cwd: context.base });
    if (found.length === 0)
      throw new SetupError(`image/system/keep.txt: nothing in Debian matches ${pattern}`);
    for (const path of found) keep(context.base, path, kept);
  }
  await copyPaths(context, tree, kept);
  for (const folder of ["dev", "proc", "sys", "run", "tmp", "var", "root", "mnt", "opt", "home"])
    mkdirSync(join(tree, folder), { recursive: true });
}

/** A path and, where it is a link, what it points to. */
function keep(base: string, path: string, kept: Set<string>): void {
  if (kept.has(path)) return;
  kept.add(path);
  if (!lstatSync(join(base, path)).isSymbolicLink()) return;
  const target = relative(realpathSync(base), realpathSync(join(base, path)));
  if (!target.startsWith("..")) kept.add(target);
}

async function copyPaths(context: TreeContext, tree: string, paths: ReadonlySet<string>): Promise<void> {
  const all = new Set<string>();
  for (const path of paths) {
    // through the links of the merged /usr
    const real = join(
      relative(realpathSync(context.base), realpathSync(join(context.base, dirname(path)))),
      basename(path),
    );
    for (let up = real; up !== "." && up !== ""; up = dirname(up)) all.add(up);
  }
  const names = `${tree}.paths`;
  writeFileSync(names, [...all].toSorted().join("\n"));
  const archive = `${tree}.tar`;
  const options = { log: context.log, label: "image: copying Debian's part" };
  await command("tar", ["-C", context.base, "--no-recursion", "-T", names, "-cf", archive], options);
  await command("tar", ["-C", tree, "-xpf", archive], options);
  for (const file of [names, archive]) rmSync(file);
}

/** Adds the shared libraries that the programs in the tree name, until none is missing. */
export async function copyLibraries(context: TreeContext, tree: string): Promise<void> {
  for (;;) {
    const programs = walk(tree)
      .map((path) => join(tree, path))
      .filter(isElf);
    const [program, args] = inTools(context.tools, {}, "readelf", ["-d", ...programs]);
    const needed = new Set(
      [...output(program, args).matchAll(/\(NEEDED\).*\[([^\]]+)\]/gu)].map((match) => match[1] ?? ""),
    );
    const missing = new Set<string>();
    for (const library of needed) {
      if (LIBRARIES.some((folder) => existsSync(join(tree, folder, library)))) continue;
      const folder = LIBRARIES.find((candidate) => existsSync(join(context.base, candidate, library)));
      if (folder === undefined) throw new SetupError(`The image has no library ${library}; add its package.`);
      keep(context.base, join(folder, library), missing);
    }
    if (missing.size === 0) return;
    await copyPaths(context, tree, missing);
  }
}

function isElf(path: string): boolean {
  if (!lstatSync(path).isFile()) return false;
  return firstBytes(path, 4).toString("latin1") === "\u007fELF";
}

function firstBytes(path: string, length: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(fd, bytes, 0, length, 0));
  } finally {
    closeSync(fd);
  }
}

/** The kernel's release in a tree. */
export function kernelRelease(tree: string): string {
  const [release, ...more] = readdirSync(join(tree, "usr/lib/modules"));
  if (release === undefined || more.length > 0) throw new SetupError("The base tree must have one kernel.");
  return release;
}

/** The modules of modules.txt and what they need, uncompressed (the root's file system compresses), with new indexes. @param more files of other modules */
export async function copyModules(
  context: TreeContext,
  tree: string,
  more: readonly string[],
): Promise<void> {
  const release = kernelRelease(context.base);
  const from = join(context.base, "usr/lib/modules", release);
  const to = join(tree, "usr/lib/modules", release);
  mkdirSync(to, { recursive: true });
  const graph = moduleGraph(readFileSync(join(from, "modules.dep"), "utf8"));
  const files = new Set<string>();
  const needs = output(...inTools(context.tools, {}, "modinfo", ["-F", "depends", ...more]));
  const needed = needs.split(/[,\s]+/u).filter((name) => name !== "");
  const listed = list("modules.txt").flatMap((line) => line.split(/\s+/u));
  for (const name of [...listed, ...needed]) {
    const file = graph.file(name);
    if (file === undefined) {
      if (!isBuiltIn(from, name))
        throw new SetupError(`image/system/modules.txt: the kernel has no module ${name}`);
      continue;
    }
    for (const one of [...graph.needs(file), file]) files.add(one);
  }
  for (const file of files) {
    mkdirSync(dirname(join(to, file)), { recursive: true });
    cpSync(join(from, file), join(to, file));
  }
  for (const index of ["modules.builtin", "modules.builtin.modinfo", "modules.order"])
    cpSync(join(from, index), join(to, index));
  const options = { log: context.log, label: "image: kernel modules" };
  const unpack = inTools(context.tools, {}, "xz", ["-d", ...[...files].map((file) => join(to, file))]);
  await command(...unpack, options);
  mkdirSync(join(to, "updates"));
  for (const file of more) cpSync(file, join(to, "updates", basename(file)));
  await command(...inTools(context.tools, {}, "depmod", ["-b", tree, release]), options);
  // the initrd reads the text files, modprobe the binary ones
  for (const index of ["modules.builtin.modinfo", "modules.order", "modules.devname", "modules.symbols"])
    rmSync(join(to, index), { force: true });
}

interface ModuleGraph {
  readonly file: (name: string) => string | undefined;
  /** In the order to load them. */
  readonly needs: (file: string) => readonly string[];
}

/** modules.dep: each module's file, and the files that it needs. */
export function moduleGraph(text: string): ModuleGraph {
  const byName = new Map<string, string>();
  const byFile = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [file, needs = ""] = line.split(":");
    if (file === undefined || file === "") continue;
    byName.set(moduleName(file), file);
    byFile.set(
      file,
      needs
        .split(" ")
        .filter((need) => need !== "")
        .toReversed(),
    );
  }
  return { file: (name) => byName.get(moduleName(name)), needs: (file) => byFile.get(file) ?? [] };
}

function moduleName(file: string): string {
  return basename(file)
    .replace(/\.ko(\.xz)?$/u, "")
    .replaceAll("-", "_");
}

function isBuiltIn(folder: string, name: string): boolean {
  return readFileSync(join(folder, "modules.builtin"), "utf8")
    .split("\n")
    .some((file) => file !== "" && moduleName(file) === moduleName(name));
}

const INTERPRETERS =
  /\/(?:(?:ba|da|a|z|k|c|tc|fi|mk)?sh|busybox|toybox|perl[\d.]*|python[\d.]*|ruby|lua[\d.]*|awk|[mg]awk|node|apt(?:-[a-z]+)?|dpkg(?:-[a-z-]+)?|rpm|sshd?|login|su|sudo|a?getty|sulogin|gdb|strace)$/u;

/**
 * By efivarfs systemd would find the firmware's variable SystemdOptions, the host's to write, and take it for a command
 * line; a generator makes units of what it finds; these units end in a shell or a login.
 */
const STEERED =
  /\/(?:efivarfs\.ko(?:\.\w+)?|[^/]+-generators(?:\/.*)?|(?:debug-shell|emergency|rescue|[^/]*getty[^/]*)\.(?:service|target))$/u;

/** @throws SetupError if the tree has what a person or an attacker could drive */
export function checkTree(context: TreeContext, tree: string): void {
  const bad: string[] = [];
  const capabilities = output(...inTools(context.tools, {}, "getcap", ["-r", tree]));
  if (capabilities !== "") bad.push(`file capabilities: ${capabilities}`);
  for (const path of walk(tree)) {
    const file = join(tree, path);
    const stat = lstatSync(file);
    if (STEERED.test(`/${path}`)) bad.push(`${path}: lets the host, or a person, say what runs`);
    const shared = stat.isDirectory() && (stat.mode & 0o1000) !== 0;
    if (!stat.isSymbolicLink() && !shared && (stat.mode & 0o002) !== 0) bad.push(`${path}: anyone may write`);
    if (INTERPRETERS.test(`/${path}`) && !stat.isDirectory())
      bad.push(`${path}: interpreter, login or package manager`);
    if (!stat.isFile()) continue;
    if ((stat.mode & 0o6000) !== 0) bad.push(`${path}: setuid or setgid`);
    if ((stat.mode & 0o111) !== 0 && firstBytes(file, 2).toString("latin1") === "#!")
      bad.push(`${path}: script`);
  }
  const passwd = readFileSync(join(tree, "etc/passwd"), "utf8").trim().split("\n");
  for (const line of passwd)
    if (!/:\/usr\/sbin\/nologin$|:\/bin\/false$/u.test(line)) bad.push(`etc/passwd: ${line} may log in`);
  const shadow = readFileSync(join(tree, "etc/shadow"), "utf8").trim().split("\n");
  for (const line of shadow)
    if (!/^[^:]+:[!*]/u.test(line)) bad.push(`etc/shadow: ${line.split(":")[0] ?? ""} has a password`);
  if (bad.length > 0)
    throw new SetupError(`The image must not have:\n${bad.map((line) => `    ${line}`).join("\n")}`);
}
