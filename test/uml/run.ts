/**
 * `node test/uml/run.ts [FILES...] [-- MOCHA OPTIONS...]`: runs the integration tests, each file in a guest of its own,
 * two at a time. Ends with `integration: N passed, N failed`.
 */
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { relative, resolve } from "node:path";
import { root } from "../../image/artefact.ts";
import { main } from "../../image/command.ts";
import { runInGuest, type Report } from "./in-guest.ts";
import { guestTree } from "./tree.ts";

await main(async () => {
  const split = process.argv.indexOf("--");
  const patterns = process.argv.slice(2, split < 0 ? undefined : split);
  const mocha = split < 0 ? [] : process.argv.slice(split + 1);
  const files = globSync(patterns.length > 0 ? patterns : ["test/**/*.uml.test.ts"], { cwd: root })
    .map((file) => relative(root, resolve(root, file)))
    .toSorted();
  if (files.length === 0) {
    console.error(`No test file matches ${patterns.join(" ")}`);
    process.exitCode = 2;
    return;
  }
  await guestTree();
  const waiting = [...files];
  const reports: Report[] = [];
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const report = await runInGuest(file, { mocha });
      reports.push(report);
      print(report);
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
  const passed = reports.reduce((sum, report) => sum + report.passed, 0);
  const failed = reports.reduce(
    (sum, report) => sum + report.failed + (report.broken === undefined ? 0 : 1),
    0,
  );
  console.log(`${process.env["LAYER"] ?? "integration"}: ${passed} passed, ${failed} failed`);
  if (failed > 0 || passed === 0) process.exitCode = 1;
});

function print(report: Report): void {
  console.log(`\n${report.file} (${(report.milliseconds / 1000).toFixed(1)} s)`);
  process.stdout.write(report.output);
  if (report.broken === undefined && report.failed === 0) return;
  console.log(`${report.broken ?? "The tests failed"}; the guest's console:`);
  console.log(report.end.console.replaceAll(/^/gmu, "    | "));
}
