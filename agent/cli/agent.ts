/** `sealet agent`: runs the node agent, which systemd does. By hand: `--until` for whoever looks for a fault. */
import { type Command, Option } from "commander";
import { PHASES, type PhaseName } from "../boot/phase.ts";

interface AgentCommandOptions {
  readonly until?: PhaseName;
  readonly runtime: string;
}

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
      const { openConsole } = await import("../boot/console.ts");
      // systemd sets it where standard error is the journal, which has every event already
      const print = process.env["JOURNAL_STREAM"] === undefined ? openConsole("/dev/stderr") : openConsole();
      await runAgent({ until, runtime, stop: stop.signal, console: (line) => print(`sealet: ${line}`) });
    });
}
