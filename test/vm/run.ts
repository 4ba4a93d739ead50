/**
 * `node test/vm/run.ts [FILES...] [-- MOCHA OPTIONS...]`: builds what the machines need, with progress, then runs the
 * VM tests one after the other. Ends with `vm: N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { root } from "../../image/artefact.ts";
import { main } from "../../image/command.ts";
import { machineParts } from "./node.ts";

await main(async () => {
  const split = process.argv.indexOf("--");
  const patterns = process.argv.slice(2, split < 0 ? undefined : split);
  const more = split < 0 ? [] : process.argv.slice(split + 1);
  for (const flavour of ["lab", "release"] as const) await machineParts(flavour);
  const files = patterns.length > 0 ? patterns : ["test/**/*.vm.test.ts"];
  const options = ["--timeout", "600000", "--reporter", "test/reporter.ts", ...more];
  const run = spawnSync(process.execPath, ["node_modules/mocha/bin/mocha.js", ...options, ...files], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, LAYER: process.env["LAYER"] ?? "vm" },
  });
  process.exitCode = run.status ?? 1;
});
