/** The one executable: agent, KMS and command line, told apart by the first argument (agent/cli/program.ts). */
import { EXIT } from "./cli/exit.ts";
import { runProgram } from "./cli/program.ts";

// A reader that went away (`sealet audit list | head`) ends the program quietly; a full disk does not.
process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
  if (code !== "EPIPE") process.stderr.write(`Standard output cannot be written: ${message}\n`);
  process.exit(EXIT.IO);
});
process.stderr.on("error", () => process.exit(EXIT.IO));

void (async () => {
  process.exitCode = await runProgram(process.argv.slice(2));
})();
