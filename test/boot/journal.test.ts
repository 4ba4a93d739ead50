import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal } from "../../agent/boot/journal.ts";
import { VirtualClock } from "./virtual-clock.ts";

const note = (message: string) => ({ phase: "agent", kind: "note", message }) as const;

describe("event journal", () => {
  let folder: string;
  let path: string;
  const clock = new VirtualClock();
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-journal-"));
    path = join(folder, "events.jsonl");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("gives events after a number, and goes on with the numbers in the next agent", () => {
    const first = new Journal(clock, path);
    first.append(note("one"));
    first.append(note("two"));
    const second = new Journal(clock, path);
    assert.equal(second.append(note("three")).sequence, 3);
    assert.deepEqual(
      second.after(1).map(({ message }) => message),
      ["two", "three"],
    );
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  for (const [what, bytes] of [
    ["a cut line", '{"sequence":3,"ti'],
    ["a foreign line", '{"sequence":3,"hello":1}\n'],
    ["a gap", '{"sequence":9,"timeUnixMs":1,"phase":"agent","kind":"note","durationMs":0,"message":""}\n'],
    ["bytes that are no text", "\xff\xfe\n"],
  ] as const) {
    it(`drops ${what} at its end and goes on behind the last good event`, () => {
      const first = new Journal(clock, path);
      first.append(note("one"));
      first.append(note("two"));
      appendFileSync(path, bytes);
      const second = new Journal(clock, path);
      assert.equal(second.append(note("three")).sequence, 3);
      assert.equal(new Journal(clock, path).after(0).length, 3);
      assert.equal(readFileSync(path, "utf8").trimEnd().split("\n").length, 3);
    });
  }

  it("stays bounded and keeps the newest", () => {
    const journal = new Journal(clock, path);
    for (let i = 0; i < 5000; i++) journal.append(note(String(i)));
    const kept = journal.after(0);
    assert.ok(kept.length <= 2000 && kept.length >= 1000);
    assert.equal(kept.at(-1)?.sequence, 5000);
    assert.deepEqual(new Journal(clock, path).after(0), kept);
  });

  it("tells subscribers until they leave", () => {
    const journal = new Journal(clock);
    const seen: string[] = [];
    const leave = journal.subscribe((event) => seen.push(event.message));
    journal.append(note("one"));
    leave();
    journal.append(note("two"));
    assert.deepEqual(seen, ["one"]);
  });

  it("goes on without its file where that can't be written, and catches up", () => {
    const heard: string[] = [];
    mkdirSync(`${path}.d`);
    const behind = new Journal(clock, join(`${path}.d`, "gone/events.jsonl"));
    behind.subscribe(({ message }) => heard.push(message));
    behind.append(note("lost"));
    assert.deepEqual(heard, ["lost"]);
    mkdirSync(join(`${path}.d`, "gone"));
    behind.append(note("two"));
    const next = new Journal(clock, join(`${path}.d`, "gone/events.jsonl"));
    assert.deepEqual(
      next.after(0).map(({ message }) => message),
      ["lost", "two"],
    );
  });
});
