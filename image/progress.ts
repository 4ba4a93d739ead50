/**
 * What set-up says to the person who waits for it: one line a step on stderr, with the time since the start, and a
 * sign of life from steps that take long. stdout stays free for results.
 */
import { closeSync, openSync, readSync, fstatSync } from "node:fs";

const started = performance.now();
const terminal = process.stderr.isTTY;

/** Seconds since this process began its work. */
export function elapsed(): number {
  return (performance.now() - started) / 1000;
}

function stamp(): string {
  return `[${elapsed().toFixed(1).padStart(6)} s]`;
}

let transient = false;

/** A line that stays. */
export function say(text: string): void {
  process.stderr.write(`${transient ? "\r\u001b[K" : ""}${stamp()} ${text}\n`);
  transient = false;
}

/** A line that the next one overwrites; nothing where stderr is no terminal. */
function murmur(text: string): void {
  if (!terminal) return;
  const width = (process.stderr.columns ?? 80) - 1;
  process.stderr.write(`\r\u001b[K${`${stamp()} ${text}`.slice(0, width)}`);
  transient = true;
}

/** The colours and cursor movements of foreign programs (ECMA-48). */
// oxlint-disable-next-line no-control-regex -- they are made of control characters
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]|[\u0000-\u0008\u000b-\u001f]/gu;

/** The end of a file, without control characters. */
export function tail(file: string, lines: number): string[] {
  const fd = openSync(file, "r");
  try {
    const size = fstatSync(fd).size;
    const chunk = Buffer.alloc(Math.min(size, 400 * lines));
    readSync(fd, chunk, 0, chunk.length, size - chunk.length);
    return chunk
      .toString("utf8")
      .replaceAll(ESCAPES, "")
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(-lines);
  } finally {
    closeSync(fd);
  }
}

/** Says every now and then that a step goes on, with the last line of its log. Stop it with the returned function. */
export function pulse(name: string, log: string): () => void {
  const since = performance.now();
  const period = terminal ? 1000 : 30_000;
  const timer = setInterval(() => {
    const [last = ""] = tail(log, 1);
    const text = `${name}: ${((performance.now() - since) / 1000).toFixed(0)} s, ${last.trim().slice(0, 120)}`;
    if (terminal) murmur(text);
    else say(text);
  }, period);
  timer.unref();
  return () => {
    clearInterval(timer);
  };
}
