/** `sealet agent`: runs the node agent, which systemd does. By hand: `--until` for whoever looks for a fault. */
import { writeSync } from "node:fs";
import { type Command, Option } from "commander";
import { PHASES, type PhaseName } from "../boot/phase.ts";

interface AgentCommandOptions {
  readonly until?: PhaseName;
  readonly runtime: string;
}

const STDERR = 2;

export function registerAgent(program: Command): void {
  program
    .command("agent")
    .description("boot this node and keep it: what systemd runs")
    .addOption(new Option("--until <phase>", "stop after this phase and wait").choices(PHASES))
    .option("--runtime <folder>", "its socket and what it keeps of this boot", "/run/sealet")
    .action(async ({ until, runtime }: AgentCommandOptions) => {
      const { runAgent } = await import("../agent.ts");
      const stop = new AbortController();
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
      await runAgent({ until, runtime, stop: stop.signal, console: print });
    });
}

/** The console is a convenience: that it can't be written to stops nothing. */
function print(line: string): void {
  try {
    writeSync(STDERR, `sealet: ${line}\n`);
  } catch {
    // Said in the journal and the API as well.
  }
}
