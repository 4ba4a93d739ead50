/** `sealet agent`: runs the node agent, which systemd does. By hand: `--until` for whoever looks for a fault. */
import { writeSync } from "node:fs";
import { type Command, Option } from "commander";
import { PHASES, type PhaseName } from "../boot/phase.ts";

interface AgentCommandOptions {
  readonly until?: PhaseName;
}

const STDERR = 2;

export function registerAgent(program: Command): void {
  program
    .command("agent")
    .description("boot this node and keep it: what systemd runs")
    .addOption(new Option("--until <phase>", "stop after this phase and wait").choices(PHASES))
    .action(async ({ until }: AgentCommandOptions) => {
      const { runAgent } = await import("../agent.ts");
      const stop = new AbortController();
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
      await runAgent({ until, stop: stop.signal, console: print });
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
