import assert from "node:assert/strict";
import { Fields } from "../../agent/attest/json-fields.ts";

const of = (value: unknown): Fields => new Fields(value, "thing");
const list = (from: Fields, least = 0, most = 9): unknown =>
  from.objects("list", least, most, (entry) => entry.integer("n", 0, 9));

describe("fields of a JSON object", () => {
  it("are read as what they have to be", () => {
    const fields = of({
      n: 3,
      word: "b",
      text: "x1",
      bytes: "00fFA0",
      at: "2024-02-29T23:59:59Z",
      inner: { list: [{ n: 1 }, { n: 2 }] },
      texts: ["x1", "x2"],
      unknown: 1,
    });
    fields.constant("n", 3);
    assert.equal(fields.integer("n", 3, 3), 3);
    assert.equal(fields.word("word", ["a", "b"]), "b");
    assert.equal(fields.text("text", /^x\d$/), "x1");
    assert.deepEqual(fields.hex("bytes", 3), Uint8Array.of(0, 0xff, 0xa0));
    assert.equal(fields.time("at"), Date.UTC(2024, 1, 29, 23, 59, 59));
    const inner = fields.object("inner");
    assert.deepEqual(inner.integers("list", 2, "n", 0, 9), [1, 2]);
    assert.deepEqual(
      inner.objects("list", 1, 2, (entry) => entry.integer("n", 0, 9)),
      [1, 2],
    );
    assert.deepEqual(fields.texts("texts", 2, /^x\d$/), ["x1", "x2"]);
    assert.deepEqual(fields.texts("absent", 2, /^x\d$/), []);
  });

  const deep = { a: { list: [{ n: 1 }, { n: "2" }] } };
  const WRONG: readonly (readonly [why: string, value: unknown, read: (from: Fields) => unknown])[] = [
    ["no object", null, () => undefined],
    ["no object", [], () => undefined],
    ["a: no object", { a: 1 }, (from) => from.object("a")],
    ["a.list.1.n: no integer of 0 to 9", deep, (from) => list(from.object("a"))],
    ["a.list.1.n: no integer of 0 to 9", deep, (from) => from.object("a").integers("list", 2, "n", 0, 9)],
    ["list.0.n: no integer of 0 to 9", { list: [3] }, (from) => from.integers("list", 1, "n", 0, 9)],
    ["list: 1 entries, not 2 to 2", { list: [3] }, (from) => from.integers("list", 2, "n", 0, 9)],
    ["list.0: no object", { list: [[]] }, list],
    ["list: no list", { list: {} }, list],
    ["list: no list", {}, (from) => list(from, 1)],
    ["list: 0 entries, not 1 to 9", { list: [] }, (from) => list(from, 1)],
    ["list: 2 entries, not 0 to 1", { list: [1, 2] }, (from) => list(from, 0, 1)],
    ["n: no integer of 0 to 9", {}, (from) => from.integer("n", 0, 9)],
    ["n: no integer of 0 to 9", { n: 10 }, (from) => from.integer("n", 0, 9)],
    ["n: no integer of 0 to 9", { n: -1 }, (from) => from.integer("n", 0, 9)],
    ["n: no integer of 0 to 9", { n: 1.5 }, (from) => from.integer("n", 0, 9)],
    ["n: not 3", { n: "3" }, (from) => from.constant("n", 3)],
    ["w: not one of a, b", { w: "c" }, (from) => from.word("w", ["a", "b"])],
    ["w: not one of a, b", { w: ["a"] }, (from) => from.word("w", ["a", "b"])],
    ["t: not ^x$", { t: "xx" }, (from) => from.text("t", /^x$/)],
    ["t: not ^x$", {}, (from) => from.text("t", /^x$/)],
    ["t.1: not ^x$", { t: ["x", "y"] }, (from) => from.texts("t", 2, /^x$/)],
    ["t.0: not ^x$", { t: [1] }, (from) => from.texts("t", 2, /^x$/)],
    ["h: no hex of 2 bytes", { h: "00" }, (from) => from.hex("h", 2)],
    ["h: no hex of 2 bytes", { h: 1 }, (from) => from.hex("h", 2)],
    ["h: not an even number of hex digits", { h: "0x00" }, (from) => from.hex("h", 2)],
    ["h: not an even number of hex digits", { h: "00\u01300" }, (from) => from.hex("h", 2)],
  ];
  for (const [why, value, read] of WRONG)
    it(`refused: ${why} (${JSON.stringify(value)})`, () =>
      assert.throws(() => read(of(value)), { name: "Malformed", code: "UNEXPECTED", what: "thing", why }));

  for (const at of [
    "2024-02-30T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:60Z",
    "2024-01-01T00:00:00z",
    "2024-01-01 00:00:00Z",
    "2024-01-01T00:00:00.0Z",
    "2024-01-01T00:00:00",
    "2024-01-0aT00:00:00Z",
    "2024-01-0/T00:00:00Z",
    "",
    0,
  ])
    it(`no time: ${JSON.stringify(at)}`, () =>
      assert.throws(() => of({ at }).time("at"), { why: "at: no time of the form YYYY-MM-DDTHH:MM:SSZ" }));
});
