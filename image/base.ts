/**
 * The Debian part of the node image: a tree with the packages of `system/mkosi.conf`, installed by mkosi. It does not
 * depend on sealet's own files, so that it is made once.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { artefact, digest, root } from "./artefact.ts";
import { z } from "zod";
import { command, SetupError } from "./command.ts";
import { inTools, mirror, repositories, toolsTree } from "./tools.ts";

const config = join(root, "image/system/mkosi.conf");

/** A folder with `tree/` and `packages.json` (name and version of each package). */
export async function baseTree(): Promise<string> {
  const inputs = [await digest("image/system/mkosi.conf"), repositories(), build.toString()];
  return artefact("base", inputs, build, { megabytes: 1500 });
}

async function build({ folder, log }: { folder: string; log: string }): Promise<void> {
  const work = join(folder, ".mkosi");
  const sources = join(work, "mkosi.sandbox/etc/apt/sources.list.d");
  mkdirSync(sources, { recursive: true });
  copyFileSync(config, join(work, "mkosi.conf"));
  // mkosi by itself would add a source of debug packages that few mirrors have
  writeFileSync(join(sources, "mkosi.sources"), repositories());
  const out = join(work, "out");
  mkdirSync(out);
  const args = ["--force", "--output-directory", out, "--cache-directory", join(work, "cache"), "build"];
  const [program, argv] = inTools(await toolsTree(), { cwd: work }, "mkosi", args);
  await command(program, argv, {
    log,
    label: "base: Debian packages",
    hint: `Set-up downloads Debian 13 from ${mirror}: check the network, or set SEALET_MIRROR.`,
  });
  cpSync(join(out, "tree.manifest"), join(folder, "packages.json"));
  // whoever else may read the cache, the tree's owners and modes are part of the product
  await command("mv", [join(out, "tree"), join(folder, "tree")], { log, label: "base: keeping the tree" });
  rmSync(work, { recursive: true, force: true });
}

const manifest = z.object({ packages: z.array(z.object({ name: z.string(), version: z.string() })) });

function packages(base: string) {
  return manifest.parse(JSON.parse(readFileSync(join(base, "packages.json"), "utf8"))).packages;
}

/** Number of Debian packages in the base tree. */
export function packageCount(base: string): number {
  return packages(base).length;
}

/** The version of a package of the base tree. */
export function packageVersion(base: string, name: string): string {
  const found = packages(base).find((one) => one.name === name);
  if (found === undefined) throw new SetupError(`The base tree has no package ${name}.`);
  return found.version;
}
