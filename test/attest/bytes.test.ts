import assert from "node:assert/strict";
import * as fc from "fast-check";
import { fromBase64, splitPem, toBase64 } from "../../agent/attest/base64.ts";
import {
  concat,
  equalBytes,
  fromHex,
  hex,
  isZero,
  Reader,
  structure,
  tileProblem,
  utf8,
} from "../../agent/attest/bytes.ts";
import { attempt, describeRefusal, Malformed } from "../../agent/attest/malformed.ts";
import { REPORT } from "../../agent/attest/snp/report.ts";
import { BODY, HEADER, QE_REPORT } from "../../agent/attest/tdx/quote.ts";

describe("bytes", () => {
  it("hex goes both ways", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        assert.equal(hex(bytes), Buffer.from(bytes).toString("hex"));
        assert.deepEqual([...fromHex(hex(bytes))], [...bytes]);
      }),
    );
  });
  for (const wrong of ["0", "0g", " 00", "0x00"])
    it(`"${wrong}" is no hex`, () => assert.throws(() => fromHex(wrong), { code: "ENCODING" }));

  it("hex and base64 are the same where the runtime has neither", async () => {
    const natives = [
      [Uint8Array.prototype, "toHex"],
      [Uint8Array, "fromHex"],
      [Uint8Array, "fromBase64"],
    ] as const;
    const kept = natives.map(([owner, name]) => Reflect.get(owner, name));
    const before = { hex, fromHex, fromBase64 };
    for (const [owner, name] of natives) Reflect.deleteProperty(owner, name);
    let after: typeof before;
    try {
      const older = "?older";
      after = {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same modules once more
        ...((await import(`../../agent/attest/bytes.ts${older}`)) as Pick<typeof before, "hex" | "fromHex">),
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same modules once more
        ...((await import(`../../agent/attest/base64.ts${older}`)) as Pick<typeof before, "fromBase64">),
      };
    } finally {
      for (const [i, [owner, name]] of natives.entries())
        Object.defineProperty(owner, name, { value: kept[i], configurable: true, writable: true });
    }
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), (bytes, text) => {
        assert.equal(after.hex(bytes), before.hex(bytes));
        assert.deepEqual([...after.fromHex(hex(bytes))], [...bytes]);
        assert.deepEqual([...after.fromBase64(toBase64(bytes))], [...bytes]);
        for (const wrong of [text, `${toBase64(bytes)}${text}`])
          assert.deepEqual(
            attempt(() => [...after.fromBase64(wrong)]),
            attempt(() => [...before.fromBase64(wrong)]),
          );
      }),
    );
  });

  it("equality is of contents, at every length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(), (bytes, at) => {
        const padded = concat(new Uint8Array(3), bytes);
        assert.ok(equalBytes(bytes, padded.subarray(3)));
        const other = Uint8Array.from(bytes);
        const i = at % bytes.length;
        other[i] = (other[i] ?? 0) ^ 1;
        assert.ok(!equalBytes(bytes, other));
        assert.ok(!equalBytes(bytes, bytes.subarray(1)));
      }),
    );
    assert.ok(isZero(new Uint8Array(9)) && !isZero(Uint8Array.of(0, 1)));
  });

  it("UTF-8 is not mended", () => {
    assert.equal(utf8(Buffer.from("größe"), "text"), "größe");
    assert.throws(() => utf8(Uint8Array.of(0xff), "text"), { code: "ENCODING", what: "text" });
  });

  it("a reader never reads past its end, and says what it was after", () => {
    const reader = new Reader(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16), "thing");
    assert.equal(reader.u8("a"), 1);
    assert.equal(reader.u16le("b"), 0x0302);
    assert.equal(reader.u16be("c"), 0x0405);
    const nested = reader.nested(4, "part");
    assert.equal(nested.u32be("d"), 0x06070809);
    assert.throws(() => nested.u8("e"), { code: "TRUNCATED", what: "part", offset: 4 });
    assert.throws(() => reader.u64le("f"), /thing, byte 9: f needs 8 bytes, 7 are left/);
    assert.throws(() => reader.end(), { code: "TRAILING", offset: 9 });
    assert.equal(reader.rest().length, 7);
    reader.end();
    assert.throws(() => reader.fail("UNEXPECTED", "so"), { code: "UNEXPECTED" });
    const wide = new Reader(new Uint8Array(20).fill(1), "wide");
    assert.equal(wide.u64be("g"), 0x0101010101010101n);
    assert.equal(wide.u64le("h"), 0x0101010101010101n);
    assert.equal(wide.u32le("i"), 0x01010101);
    assert.equal(wide.remaining, 0);
  });

  it("every table tiles its structure", () => {
    for (const { size, rows } of [REPORT, HEADER, QE_REPORT, ...Object.values(BODY)])
      assert.equal(tileProblem(size, rows), undefined);
    assert.match(
      tileProblem(4, [
        ["a", 0, 2, "bytes"],
        ["b", 3, 1, "u8"],
      ]) ?? "",
      /b is at 3/,
    );
    assert.match(tileProblem(4, [["a", 0, 4, "u16"]]) ?? "", /u16 of 4 bytes/);
    assert.match(tileProblem(8, [["a", 0, 4, "u32"]]) ?? "", /end at 4/);
    assert.throws(() => structure("bad", 5, [["a", 0, 4, "u32"]]), /bad: the rows end/);
  });

  it("a structure decodes little-endian, and finds reserved bytes", () => {
    const thing = structure("thing", 16, [
      ["a", 0, 1, "u8"],
      ["reserved", 1, 1, "zero"],
      ["b", 2, 2, "u16"],
      ["c", 4, 4, "u32"],
      ["d", 8, 8, "u64"],
    ]);
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
    assert.deepEqual(thing.decode(bytes), { a: 0, b: 0x0302, c: 0x07060504, d: 0x0f0e0d0c0b0a0908n });
    assert.deepEqual(thing.reserved(bytes), { name: "reserved", offset: 1 });
    assert.equal(thing.reserved(new Uint8Array(16)), undefined);
    assert.throws(() => thing.decode(bytes.subarray(1)), { code: "TRUNCATED" });
    assert.throws(() => thing.decode(new Uint8Array(17)), { code: "TRAILING" });
  });

  it("a refusal is data; what is no refusal goes on", () => {
    const refused = attempt(() => {
      throw new Malformed("MISSING", "thing", 7, "no part");
    });
    assert.ok(!refused.ok);
    assert.deepEqual(refused.refusal, {
      code: "MISSING",
      where: { what: "thing", offset: 7 },
      why: "no part",
    });
    assert.equal(describeRefusal(refused.refusal), "MISSING: thing, byte 7: no part");
    assert.throws(
      () =>
        attempt(() => {
          throw new TypeError("a defect");
        }),
      TypeError,
    );
  });
});

describe("base64 and PEM", () => {
  it("goes both ways, as Node's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        assert.equal(toBase64(bytes), Buffer.from(bytes).toString("base64"));
        assert.deepEqual([...fromBase64(toBase64(bytes))], [...bytes]);
      }),
    );
  });
  for (const wrong of [
    "A",
    "AA",
    "AAA",
    "AA=A",
    "AA-_",
    "A===",
    "AB==",
    "AAB=",
    "AAA=AAAA",
    "AA A",
    "ÄAAA",
    "====",
  ])
    it(`"${wrong}" is refused`, () => assert.throws(() => fromBase64(wrong), { code: "ENCODING" }));

  const block = "-----BEGIN THING-----\nAAEC\n-----END THING-----\n";
  it("splits blocks, with white space around and zeros at the end", () => {
    const blocks = splitPem(`\r\n ${block}\n${block.replaceAll("\n", "\r\n")}\0\0`, "text");
    assert.deepEqual(
      blocks.map(({ label, der }) => [label, hex(der)]),
      [
        ["THING", "000102"],
        ["THING", "000102"],
      ],
    );
    assert.deepEqual(splitPem("", "text"), []);
  });
  const WRONG: readonly (readonly [string, string])[] = [
    [`x${block}`, "ENCODING"],
    [`${block}x`, "ENCODING"],
    [`${block}\0x`, "TRAILING"],
    [block.replace("END THING", "END OTHER"), "TRUNCATED"],
    [block.replace("AAEC", "AA*C"), "ENCODING"],
    [block.repeat(9), "TOO_LARGE"],
    [" ".repeat(200_000), "TOO_LARGE"],
  ];
  for (const [text, code] of WRONG)
    it(`refuses ${JSON.stringify(text.slice(0, 40))} (${code})`, () =>
      assert.throws(() => splitPem(text, "text"), { code }));
});
