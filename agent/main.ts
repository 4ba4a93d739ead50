/** The one executable: agent, KMS and command line, told apart by the first argument (agent/cli/program.ts). */
import { runProgram } from "./cli/program.ts";

void (async () => {
  process.exitCode = await runProgram(process.argv.slice(2));
})();
