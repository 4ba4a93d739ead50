/** The bench's figures as one table, on the terminal and in Markdown. */
import Table from "cli-table3";

export interface Figure {
  readonly name: string;
  /** What is pinned where. */
  readonly where: string;
  /** Operations a second: the median of the rounds. */
  readonly rate: number;
  /** Of `openssl speed` of that TEE's curve, in the same run. */
  readonly ofOpenssl: number | undefined;
  /** How much faster than this ours is, at the same task on the same core. */
  readonly ours: number | undefined;
  /** What it checks, where it is not the same as ours. */
  readonly checks: string;
}

export interface Section {
  readonly title: string;
  readonly figures: readonly Figure[];
}

export interface Goal {
  readonly what: string;
  readonly wanted: number;
  readonly found: number | undefined;
}

const HEAD = ["contestant", "where", "a second", "µs", "of openssl", "ours to it", "checks"] as const;
const ratio = (value: number | undefined): string => value?.toFixed(2) ?? "";

function cells({ name, where, rate, ofOpenssl, ours, checks }: Figure): string[] {
  const perSecond = Math.round(rate).toLocaleString("en");
  const micros = (1e6 / rate).toFixed(1);
  return [name, where, perSecond, micros, ratio(ofOpenssl), ratio(ours), checks];
}

const met = ({ found, wanted }: Goal): string =>
  found === undefined ? "not measured" : found >= wanted ? "met" : "missed";
const goalCells = (goal: Goal): string[] => [
  goal.what,
  `>= ${goal.wanted}`,
  goal.found?.toFixed(2) ?? "-",
  met(goal),
];

const NUMBERS: ReadonlySet<string> = new Set(["a second", "µs", "of openssl", "ours to it", "found"]);

function drawn(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const colAligns = head.map((name) => (NUMBERS.has(name) ? ("right" as const) : ("left" as const)));
  const table = new Table({
    head: [...head],
    colAligns,
    // what each checks takes several lines
    colWidths: head.map((name) => (name === "checks" ? 46 : null)),
    wordWrap: true,
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push([...row]);
  return table.toString();
}

const GOAL_HEAD = ["goal", "at least", "found", ""] as const;

export function terminal(sections: readonly Section[], goals: readonly Goal[]): string {
  const parts = sections.map(({ title, figures }) => `${title}\n${drawn(HEAD, figures.map(cells))}`);
  return [...parts, drawn(GOAL_HEAD, goals.map(goalCells))].join("\n\n");
}

function lines(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, head.map(() => "---"), ...rows];
  return all.map((row) => `| ${row.join(" | ")} |`).join("\n");
}

export function markdown(sections: readonly Section[], goals: readonly Goal[]): string {
  const parts = sections.map(({ title, figures }) => `## ${title}\n\n${lines(HEAD, figures.map(cells))}`);
  return [...parts, `## Goals\n\n${lines(GOAL_HEAD, goals.map(goalCells))}`].join("\n\n");
}
