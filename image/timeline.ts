/** Where a boot's seconds went, read off the machine's console. */
import type { Line } from "../test/vm/console.ts";

export interface Step {
  readonly name: string;
  /** Seconds after power-on at which it ended. */
  readonly end: number;
  /** The machine's processor time until then; unknown for what the console does not tell. */
  readonly cpu?: number;
}

/** What ends each step, in the order of a boot. */
const ENDS: readonly (readonly [string, RegExp])[] = [
  ["firmware", /BdsDxe: starting/u],
  ["load and unpack the kernel", /Loaded initrd/u],
  ["kernel", /initrd: up at/u],
  ["verify the root", /initrd: root [0-9a-f]+ verified/u],
  ["drivers", /initrd: handing over/u],
  ["systemd, agent's start", /sealet: agent note sealet/u],
];

/** @param api seconds after power-on, as the API server saw them */
export function bootSteps(
  lines: readonly Line[],
  api: { readonly ready: number; readonly running: number },
): Step[] {
  const steps: Step[] = [];
  for (const [name, pattern] of ENDS) {
    const line = lines.find(({ text }) => pattern.test(text));
    if (line !== undefined) steps.push({ name, end: line.at, cpu: line.cpu });
  }
  for (const { text, at, cpu } of lines) {
    const phase = /^sealet: (\S+) (?:done|skipped) /u.exec(text)?.[1];
    if (phase !== undefined && phase !== "lock") steps.push({ name: `agent: ${phase}`, end: at, cpu });
  }
  return [
    ...steps,
    { name: "node Ready in the API", end: api.ready },
    { name: "pod Running", end: api.running },
  ].toSorted((a, b) => a.end - b.end);
}

export function timeTable(steps: readonly Step[]): string {
  let before = 0;
  const rows = steps.map(({ name, end, cpu }) => {
    const row = [name.padEnd(28), (end - before).toFixed(1), end.toFixed(1), cpu?.toFixed(1) ?? ""];
    before = end;
    return row;
  });
  const head = ["step".padEnd(28), "seconds", "at", "processor"];
  return [head, ...rows]
    .map(([name = "", ...cells]) => `  ${name}${cells.map((cell) => cell.padStart(10)).join("")}`)
    .join("\n");
}
