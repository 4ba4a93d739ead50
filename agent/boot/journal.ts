/**
 * The boot's events, numbered: in memory for the API and in a file on /run, so that the next agent of the same boot
 * goes on with the numbers and a reader misses nothing. Bounded: the oldest half goes when it is full.
 *
 * Must never hold a secret: events are made of codes, names, numbers and messages of `SealetError`.
 */
import { appendFileSync } from "node:fs";
import { z } from "zod";
import { type Code, isCode } from "../error.ts";
import { readIfThere, writeAtomically } from "../atomic-file.ts";
import type { Clock } from "./clock.ts";
import { PHASES } from "./phase.ts";

const eventSchema = z.strictObject({
  /** From 1, without gaps, within one boot of the machine. */
  sequence: z.int().positive(),
  timeUnixMs: z.int(),
  /** A phase of the boot, or what else the agent does. */
  phase: z.enum([...PHASES, "lease", "lock", "agent"]),
  kind: z.enum(["started", "done", "skipped", "retried", "failed", "note"]),
  durationMs: z.number().nonnegative(),
  code: z.custom<Code>((code) => typeof code === "string" && isCode(code)).optional(),
  message: z.string(),
});

export type Event = Readonly<z.infer<typeof eventSchema>>;
export type NewEvent = Pick<Event, "phase" | "kind" | "message"> & { durationMs?: number; code?: Code };

const CAPACITY = 2000;

export class Journal {
  readonly #path: string | undefined;
  readonly #clock: Clock;
  readonly #listeners = new Set<(event: Event) => void>();
  #events: Event[] = [];
  /** The file has not what it should: it is written whole next time. */
  #behind = false;

  /** @param path a file on /run, or undefined to keep events in memory only */
  constructor(clock: Clock, path?: string) {
    this.#clock = clock;
    this.#path = path;
    if (path === undefined) return;
    const { events, whole } = readEvents(path);
    this.#events = events;
    this.#behind = !whole;
  }

  append(event: NewEvent): Event {
    const sequence = (this.#events.at(-1)?.sequence ?? 0) + 1;
    const entry: Event = { durationMs: 0, ...event, sequence, timeUnixMs: this.#clock.wall() };
    this.#events.push(entry);
    if (this.#events.length > CAPACITY) {
      this.#events = this.#events.slice(-CAPACITY / 2);
      this.#behind = true;
    }
    this.#keep(entry);
    for (const listener of this.#listeners) listener(entry);
    return entry;
  }

  /** A /run that is full costs the next agent some events, and this one nothing. */
  #keep(entry: Event): void {
    if (this.#path === undefined) return;
    try {
      if (this.#behind) rewrite(this.#path, this.#events);
      else appendFileSync(this.#path, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
      this.#behind = false;
    } catch {
      this.#behind = true;
    }
  }

  /** What is kept of the events after this number. */
  after(sequence: number): readonly Event[] {
    return this.#events.filter((event) => event.sequence > sequence);
  }

  /** @returns ends the subscription */
  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** A line that is cut, since the agent was killed while it wrote, ends the list; what comes after it is not trusted. */
function readEvents(path: string): { events: Event[]; whole: boolean } {
  const text = readIfThere(path)?.toString();
  if (text === undefined) return { events: [], whole: true };
  const lines = text.split("\n");
  const events: Event[] = [];
  for (const line of lines.slice(0, -1)) {
    const event = parseEvent(line);
    if (event === undefined || event.sequence !== (events.at(-1)?.sequence ?? event.sequence - 1) + 1) break;
    events.push(event);
  }
  return { events, whole: events.length === lines.length - 1 && lines.at(-1) === "" };
}

function parseEvent(line: string): Event | undefined {
  try {
    return eventSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function rewrite(path: string, events: readonly Event[]): void {
  writeAtomically(path, events.map((event) => `${JSON.stringify(event)}\n`).join(""));
}
