/**
 * What a command prints: for people (tables, colours on a terminal) or, with `-o json`, for programs. A command hands
 * over its result once, as data and as text; it never writes to a stream by itself.
 */
import Table from "cli-table3";
import pico from "picocolors";
import { REMEDY, type SealetError } from "../error.ts";

export type Style = ReturnType<typeof pico.createColors>;
export type Format = "text" | "json";

export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** JSON has neither bytes nor 64-bit numbers: bytes become hex, a number beyond 2^53 becomes decimal text. */
export function toJson(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value.toString();
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => [key, toJson(item)]),
    );
  }
  return value;
}

/**
 * Text from outside (a host, a log, a server) as one printable line: no control or bidirectional character may redraw
 * an operator's terminal.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) =>
    char === "\n" || char === "\t" ? " " : `\\u{${char.codePointAt(0)?.toString(16) ?? ""}}`,
  );
}

export class Output {
  format: Format = "text";
  readonly #out: Sink;
  readonly #err: Sink;

  constructor(out: Sink, err: Sink) {
    this.#out = out;
    this.#err = err;
  }

  /** One result; a command that streams calls it for each, which with `-o json` makes one line of JSON each. */
  result(value: unknown, text: (style: Style) => string): void {
    const line =
      this.format === "json"
        ? JSON.stringify(toJson(value))
        : text(this.#style(this.#out)).replace(/\n$/, "");
    this.#out.write(`${line}\n`);
  }

  /** What happened, why, what to do. */
  error(error: SealetError): void {
    const { code, message, expected, found } = error;
    if (this.format === "json") {
      const body = { code, message, expected, found, remedy: REMEDY[code] };
      this.#err.write(`${JSON.stringify({ error: toJson(body) })}\n`);
      return;
    }
    const style = this.#style(this.#err);
    const lines = [`${style.red(style.bold(code))}  ${printable(message)}`];
    if (expected !== undefined) lines.push(`  expected  ${printable(expected)}`);
    if (found !== undefined) lines.push(`  found     ${printable(found)}`);
    lines.push(style.cyan(`  ${REMEDY[code]}`));
    this.#err.write(`${lines.join("\n")}\n`);
  }

  /** For people only, on standard error: what is being done, hints. Not there with `-o json`. */
  note(text: string): void {
    if (this.format === "text") this.#err.write(`${text}\n`);
  }

  #style(sink: Sink): Style {
    return pico.createColors(sink.isTTY === true && process.env["NO_COLOR"] === undefined);
  }
}

const LINES = ["top", "bottom", "left", "mid", "right"];
const JOINTS = ["top-mid", "top-left", "top-right", "bottom-mid", "bottom-left", "bottom-right"];
const NO_LINES = {
  ...Object.fromEntries([...LINES, ...JOINTS, "left-mid", "mid-mid", "right-mid"].map((name) => [name, ""])),
  middle: "  ",
};

/** A table without lines: columns are aligned, and cut and awk can read it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], style: Style): string {
  const drawn = new Table({
    head: head.map((title) => style.dim(title)),
    chars: NO_LINES,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
  });
  drawn.push(...rows.map((row) => [...row]));
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** Names and values, one a line. */
export function fields(rows: readonly (readonly [string, string])[], style: Style): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${style.dim(name.padEnd(width))}  ${value}`).join("\n");
}
