import assert from "node:assert/strict";
import * as fc from "fast-check";
import { attempt } from "../../../agent/attest/malformed.ts";
import { GUID, guidBytes, parseCertificateTable } from "../../../agent/attest/snp/certificate-table.ts";
import { certificateTable } from "../../twin/amd-ca.ts";

const one = Uint8Array.of(1, 2, 3);
const two = Uint8Array.of(4, 5);

/** Raw entries and contents, whatever they are. */
function raw(
  entries: readonly (readonly [guid: Uint8Array, offset: number, length: number])[],
  size: number,
): Uint8Array {
  const bytes = Buffer.alloc(size);
  entries.forEach(([guid, offset, length], i) => {
    bytes.set(guid, 24 * i);
    bytes.writeUInt32LE(offset, 24 * i + 16);
    bytes.writeUInt32LE(length, 24 * i + 20);
  });
  return bytes;
}
const VCEK = guidBytes(GUID.vcek, "mixed");
const ZERO = new Uint8Array(16);

describe("SNP certificate table", () => {
  it("GUIDs in memory have their first groups turned round", () => {
    assert.equal(Buffer.from(VCEK).toString("hex"), "8d75da6364e66445adc5f4b93be8accd");
  });

  it("is read whatever the order, also of GUIDs", () => {
    for (const order of ["mixed", "text"] as const) {
      const table = parseCertificateTable(certificateTable({ ask: two, vcek: one }, order));
      assert.deepEqual([...(table.vcek ?? [])], [...one]);
      assert.deepEqual([...(table.ask ?? [])], [...two]);
      assert.equal(table.ark, undefined);
    }
  });

  it("skips entries that it does not know; an empty table is one", () => {
    assert.deepEqual(parseCertificateTable(new Uint8Array(24)), {});
    assert.deepEqual(parseCertificateTable(new Uint8Array(4096)), {});
    const table = parseCertificateTable(
      raw(
        [
          [new Uint8Array(16).fill(9), 72, 3],
          [VCEK, 75, 2],
        ],
        77,
      ),
    );
    assert.deepEqual(Object.keys(table), ["vcek"]);
  });

  const BAD: readonly (readonly [what: string, bytes: Uint8Array, code: string])[] = [
    ["nothing", new Uint8Array(0), "TRUNCATED"],
    ["no last entry", raw([[VCEK, 0, 1]], 24), "TRUNCATED"],
    ["a last entry that is not zero", raw([[ZERO, 1, 0]], 24), "UNEXPECTED"],
    ["an offset outside", raw([[VCEK, 100, 1]], 60), "TRUNCATED"],
    ["a length outside", raw([[VCEK, 48, 13]], 60), "TRUNCATED"],
    ["offset and length that overflow", raw([[VCEK, 0xfffffff0, 0x20]], 60), "TRUNCATED"],
    ["a length of zero", raw([[VCEK, 48, 0]], 60), "TRUNCATED"],
    ["an entry over the table itself", raw([[VCEK, 47, 2]], 60), "UNEXPECTED"],
    [
      "entries that overlap",
      raw(
        [
          [VCEK, 72, 4],
          [guidBytes(GUID.ask, "mixed"), 75, 4],
        ],
        80,
      ),
      "UNEXPECTED",
    ],
    [
      "two of a kind",
      raw(
        [
          [VCEK, 72, 1],
          [VCEK, 73, 1],
        ],
        80,
      ),
      "DUPLICATE",
    ],
    [
      "too many entries",
      raw(
        Array.from({ length: 20 }, (_, i) => [new Uint8Array(16).fill(9), 700 + i, 1]),
        800,
      ),
      "TOO_LARGE",
    ],
    ["too many bytes", new Uint8Array(64 * 1024 + 1), "TOO_LARGE"],
  ];
  for (const [what, bytes, code] of BAD)
    it(`refuses ${what} (${code})`, () =>
      assert.throws(() => parseCertificateTable(bytes), { name: "Malformed", code }));

  it("never throws anything else, nor gives out what is outside", () => {
    const entry = fc.tuple(fc.constantFrom(VCEK, ZERO, new Uint8Array(16).fill(9)), fc.nat(200), fc.nat(200));
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), fc.integer({ min: 144, max: 200 }), (entries, size) => {
        const bytes = raw(entries, size);
        const parsed = attempt(() => parseCertificateTable(bytes));
        if (parsed.ok)
          for (const part of Object.values(parsed.value))
            assert.ok(part.byteOffset + part.length <= bytes.byteOffset + bytes.length);
      }),
      { numRuns: 3000 },
    );
  });
});
