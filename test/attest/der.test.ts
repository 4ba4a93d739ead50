import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Der, TAG } from "../../agent/attest/der.ts";
import { attempt } from "../../agent/attest/malformed.ts";
import * as der from "../twin/der.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** Reads one element with `read`, then closes. */
function one<T>(hex: string, read: (from: Der) => T): T {
  const reader = new Der(bytes(hex), "thing");
  const value = read(reader);
  reader.close("it");
  return value;
}

const timeOf = (text: string): number =>
  new Der(der.tlv(text.length === 13 ? 0x17 : 0x18, Buffer.from(text)), "time").time("t");

describe("DER", () => {
  it("leap years are the Gregorian calendar's", () => {
    assert.equal(timeOf("000229000000Z"), Date.parse("2000-02-29T00:00:00Z"));
    assert.equal(timeOf("20240229000000Z"), Date.parse("2024-02-29T00:00:00Z"));
    for (const none of ["21000229000000Z", "250229000000Z", "250431000000Z"])
      assert.throws(() => timeOf(none), { code: "ENCODING" }, none);
  });

  const WRONG: readonly (readonly [what: string, hex: string, code: string, read: (from: Der) => unknown])[] =
    [
      ["nothing", "", "TRUNCATED", (from) => from.sequence("s")],
      ["no length", "30", "TRUNCATED", (from) => from.sequence("s")],
      ["indefinite length", "30 80 00 00", "ENCODING", (from) => from.sequence("s")],
      ["length over what is left", "30 05 02 01 00", "TRUNCATED", (from) => from.sequence("s")],
      ["length of 4 bytes", "30 84 00 00 00 00", "TOO_LARGE", (from) => from.sequence("s")],
      ["length that is cut", "30 82 01", "TRUNCATED", (from) => from.sequence("s")],
      [
        "short length in long form",
        "04 81 01 00",
        "ENCODING",
        (from) => from.primitive(TAG.octetString, "o"),
      ],
      [
        "length with a leading zero",
        `04 82 00 80 ${"00".repeat(128)}`,
        "ENCODING",
        (from) => from.primitive(TAG.octetString, "o"),
      ],
      ["another tag", "31 00", "UNEXPECTED", (from) => from.sequence("s")],
      ["trailing bytes", "30 00 00", "TRAILING", (from) => from.sequence("s")],
      ["empty integer", "02 00", "ENCODING", (from) => from.integer("i")],
      ["integer with a needless zero", "02 02 00 7f", "ENCODING", (from) => from.integer("i")],
      ["integer with a needless ff", "02 02 ff 80", "ENCODING", (from) => from.integer("i")],
      ["negative", "02 01 80", "UNEXPECTED", (from) => from.small("i")],
      ["over 31 bits", "02 05 00 80 00 00 00", "TOO_LARGE", (from) => from.small("i")],
      ["boolean of 1", "01 01 01", "ENCODING", (from) => from.boolean("b")],
      ["boolean of two bytes", "01 02 ff ff", "ENCODING", (from) => from.boolean("b")],
      ["bits that are no bytes", "03 02 01 00", "ENCODING", (from) => from.bitString("b")],
      ["empty bit string", "03 00", "ENCODING", (from) => from.bitString("b")],
      ["named bits: unused bit set", "03 02 01 01", "ENCODING", (from) => from.namedBits("b")],
      ["named bits: 8 unused", "03 02 08 00", "ENCODING", (from) => from.namedBits("b")],
      ["named bits: unused bits of nothing", "03 01 01", "ENCODING", (from) => from.namedBits("b")],
      ["named bits: empty", "03 00", "ENCODING", (from) => from.namedBits("b")],
      ["empty OID", "06 00", "ENCODING", (from) => from.oid("o")],
      ["OID that is cut", "06 01 80", "ENCODING", (from) => from.oid("o")],
      ["OID with a leading 80", "06 03 2a 80 01", "ENCODING", (from) => from.oid("o")],
      ["OID with a huge arc", "06 06 2a 90 80 80 80 00", "ENCODING", (from) => from.oid("o")],
      ["long OID", `06 21 ${"2a".repeat(33)}`, "ENCODING", (from) => from.oid("o")],
      [
        "UTC time without Z",
        `17 0c ${Buffer.from("250101000000").toString("hex")}`,
        "ENCODING",
        (from) => from.time("t"),
      ],
      [
        "UTC time with offset",
        `17 11 ${Buffer.from("250101000000+0000").toString("hex")}`,
        "ENCODING",
        (from) => from.time("t"),
      ],
      [
        "13th month",
        `17 0d ${Buffer.from("251301000000Z").toString("hex")}`,
        "ENCODING",
        (from) => from.time("t"),
      ],
      [
        "31st of June",
        `17 0d ${Buffer.from("250631000000Z").toString("hex")}`,
        "ENCODING",
        (from) => from.time("t"),
      ],
      [
        "year 0",
        `18 0f ${Buffer.from("00000101000000Z").toString("hex")}`,
        "ENCODING",
        (from) => from.time("t"),
      ],
      [
        "generalized time with fraction",
        `18 11 ${Buffer.from("20250101000000.5Z").toString("hex")}`,
        "ENCODING",
        (from) => from.time("t"),
      ],
    ];
  for (const [what, hex, code, read] of WRONG)
    it(`refuses ${what} (${code})`, () => assert.throws(() => one(hex, read), { code, what: "thing" }));

  it("reads what the writer wrote", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70_000, size: "max" }), (body) => {
        const reader = new Der(der.octets(body), "thing");
        assert.ok(Buffer.from(reader.primitive(TAG.octetString, "o")).equals(body));
        reader.close("it");
      }),
      { numRuns: 50 },
    );
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), (value) => {
        assert.equal(new Der(der.integer(value), "thing").small("i"), value);
      }),
    );
    for (const oid of ["1.2.840.113549.1.1.10", "2.5.29.15", "1.3.6.1.4.1.3704.1.3.8", "2.999.1", "0.9.2342"])
      assert.equal(new Der(oidOf(oid), "thing").oid("o"), oid);
  });

  it("times: 49 is 2049, 50 is 1950; both forms", () => {
    for (const at of [
      "1950-01-01T00:00:00Z",
      "2049-12-31T23:59:59Z",
      "2050-01-01T00:00:00Z",
      "2024-02-29T12:00:00Z",
    ])
      assert.equal(new Der(der.time(new Date(at)), "thing").time("t"), Date.parse(at));
  });

  it("named bits", () => {
    const bit = one("03 02 01 06", (from) => from.namedBits("b"));
    assert.deepEqual([4, 5, 6, 7, 8, 99].map(bit), [false, true, true, false, false, false]);
    assert.equal(one("03 01 00", (from) => from.namedBits("b"))(0), false);
  });

  it("depth and number of elements have budgets", () => {
    let nested: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < 20; i++) nested = der.sequence(nested);
    assert.throws(
      () => {
        let reader = new Der(nested, "thing");
        for (;;) reader = reader.sequence("s");
      },
      { code: "TOO_LARGE" },
    );
    const many = new Der(
      new Uint8Array(300_000).fill(5).map((_, i) => (i % 2 === 0 ? 5 : 0)),
      "thing",
    );
    assert.throws(
      () => {
        while (!many.empty) many.primitive(TAG.null, "n");
      },
      { code: "TOO_LARGE" },
    );
  });

  it("offsets count from the outermost bytes", () => {
    const outer = new Der(der.sequence(der.nul(), der.sequence(der.integer(1))), "thing");
    const inner = outer.sequence("s");
    inner.primitive(TAG.null, "n");
    const refused = attempt(() => inner.sequence("s").oid("o"));
    assert.ok(!refused.ok);
    assert.deepEqual(refused.refusal.where, { what: "thing", offset: 6 });
    assert.throws(() => inner.fail("MISSING", "so"), { code: "MISSING" });
  });

  it("never throws anything else, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
        attempt(() => {
          const reader = new Der(input, "thing");
          while (!reader.empty) {
            const tag = reader.peek() ?? 0;
            if (tag === TAG.oid) reader.oid("o");
            else if (tag === TAG.integer) reader.small("i");
            else if (tag === TAG.utcTime || tag === TAG.generalizedTime) reader.time("t");
            else reader.raw(tag, "r");
          }
        });
      }),
      { numRuns: 2000 },
    );
  });
});

function oidOf(dotted: string): Uint8Array {
  if (!dotted.startsWith("2.999")) return der.oid(dotted);
  return bytes("06 03 88 37 01");
}
