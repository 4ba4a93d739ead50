/**
 * `sh image/run.sh test/disk/cuts.ts [format|epoch|initialisation ...]`: boots from every power cut, not from a sample.
 * Takes ten minutes for a format, two for an unseal, more than an hour for the initialisation.
 */
import { main } from "../../image/command.ts";
import { runInGuest } from "../uml/in-guest.ts";

const HOUR = 3_600_000;

await main(async () => {
  const names = process.argv.slice(2);
  const grep = names.length > 0 ? ["--grep", names.map((name) => `in ${name}:`).join("|")] : [];
  const report = await runInGuest("test/disk/every-cut.uml.ts", { timeout: 6 * HOUR, mocha: grep });
  process.stdout.write(report.output);
  if (report.broken !== undefined) console.error(report.broken, report.end.console);
  console.log(`${report.passed} passed, ${report.failed} failed`);
  if (report.failed > 0 || report.broken !== undefined) process.exitCode = 1;
});
