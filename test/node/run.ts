/**
 * `node test/node/run.ts [FILES...] [-- MOCHA OPTIONS...]`: runs the scenarios of whole nodes, two files at a time, each
 * by a mocha of its own (mocha's parallel mode loses what a test prints). Ends with `integration: N passed, N failed`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { root } from "../../image/artefact.ts";
import { main } from "../../image/command.ts";
import { guestTree } from "../uml/tree.ts";
import { programs } from "./root.ts";

const TEST_MS = 180_000;
/** Whatever hangs: the longest file takes four minutes on a loaded machine. */
const FILE_MS = 900_000;

interface Report {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly output: string;
  readonly milliseconds: number;
}

async function run(file: string, options: readonly string[]): Promise<Report> {
  const begun = performance.now();
  const mocha = ["node_modules/mocha/bin/mocha.js", "--reporter", "test/reporter.ts"];
  const child = spawn(process.execPath, [...mocha, "--timeout", String(TEST_MS), ...options, file], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LAYER: "scenarios" },
    timeout: FILE_MS,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
    });
  await once(child, "close");
  const [, passed, failed] = /^scenarios: (\d+) passed, (\d+) failed$/mu.exec(output) ?? [];
  const whole = failed !== undefined && (child.exitCode === 0 || failed !== "0");
  return {
    file,
    passed: Number(passed ?? 0),
    failed: Number(failed ?? 0) + (whole ? 0 : 1),
    output: whole ? output : `${output}\nmocha ended with ${child.signalCode ?? String(child.exitCode)}\n`,
    milliseconds: performance.now() - begun,
  };
}

await main(async () => {
  const split = process.argv.indexOf("--");
  const patterns = process.argv.slice(2, split < 0 ? undefined : split);
  const options = split < 0 ? [] : process.argv.slice(split + 1);
  const waiting = globSync(patterns.length > 0 ? patterns : ["test/**/*.node.test.ts"], {
    cwd: root,
  }).toSorted();
  await guestTree();
  await programs();
  const reports: Report[] = [];
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const report = await run(file, options);
      reports.push(report);
      console.log(`\n${report.file} (${(report.milliseconds / 1000).toFixed(1)} s)`);
      process.stdout.write(report.output.replace(/^scenarios: .*\n/mu, ""));
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
  const sum = (of: "passed" | "failed") => reports.reduce((total, report) => total + report[of], 0);
  const [passed, failed] = [sum("passed"), sum("failed")];
  console.log(`${process.env["LAYER"] ?? "integration"}: ${passed} passed, ${failed} failed`);
  if (failed > 0 || passed === 0) process.exitCode = 1;
});
