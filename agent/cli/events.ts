/** `sealet events`: what happened in this boot, in order; with `-f` also what happens. */
import { type Command, InvalidArgumentError } from "commander";
import type { Event } from "../api/gen/sealet.ts";
import { type Output, type Style, printable } from "./output.ts";
import { type AgentOptions, agentAddress, onAgent } from "./agent-address.ts";
import { coloured, duration } from "./words.ts";

interface EventsOptions extends AgentOptions {
  readonly follow: boolean;
  readonly after?: bigint;
  readonly boot?: string;
}

export function registerEvents(program: Command, output: Output): void {
  onAgent(program, "events", "what happened in this boot, in order")
    .option("-f, --follow", "wait for more", false)
    .option("--after <number>", "only what came after the event of this number", sequence)
    .option(
      "--boot <id>",
      "the boot of that event (bootId): where the machine was booted since, from the first on",
    )
    .action(async ({ follow, after = 0n, boot = "", ...agent }: EventsOptions) => {
      const { watchAgent } = await import("./node-client.ts");
      const stop = new AbortController();
      const end = () => stop.abort();
      process.once("SIGINT", end);
      try {
        for await (const event of watchAgent(
          agentAddress(agent),
          { afterSequence: after, follow, bootId: boot },
          stop.signal,
        )) {
          output.result(event, (style) => eventText(event, style));
        }
      } finally {
        process.off("SIGINT", end);
      }
    });
}

function eventText(event: Event, style: Style): string {
  const time = new Date(Number(event.timeUnixMs)).toISOString().slice(11, 23);
  const code = event.code === "" ? "" : style.bold(event.code);
  const took = event.durationMs > 0n ? style.dim(`(${duration(event.durationMs)})`) : "";
  return [
    style.dim(`${String(event.sequence).padStart(4)}  ${time}`),
    event.phase.padEnd(9),
    // Colours have a width of their own: padded before they are put on.
    coloured(event.kind, style) + " ".repeat(Math.max(0, 7 - event.kind.length)),
    [code, printable(event.message), took].filter((part) => part !== "").join(" "),
  ]
    .join("  ")
    .trimEnd();
}

function sequence(text: string): bigint {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("not the number of an event");
  return BigInt(text);
}
