import assert from "node:assert/strict";

import * as fc from "fast-check";

import { LUKS2_BINARY, LUKS2_BINARY_BYTES, parseLuks2Header } from "../../agent/disk/luks2-header.ts";
import { checkLuks2Header } from "../../agent/disk/luks2-profile.ts";
import { SealetError } from "../../agent/error.ts";
import { header, JSON_AREA, repair, UUID } from "./header.ts";

const codeOf = (run: () => unknown): string => {
  try {
    run();
    return "accepted";
  } catch (thrown) {
    assert.ok(thrown instanceof SealetError, String(thrown));
    return thrown.code;
  }
};

/** A copy of the JSON area with one value replaced, added (dots address it) or removed (undefined). */
function edited(path: string, value: unknown): string {
  const keys = path.split(".");
  const edit = (at: object, [key, ...rest]: readonly string[]): object => {
    const entries = new Map<string, unknown>(Object.entries(at));
    if (key === undefined) return at;
    const inner = entries.get(key);
    if (rest.length > 0)
      entries.set(key, edit(typeof inner === "object" && inner !== null ? inner : {}, rest));
    else if (value === undefined) entries.delete(key);
    else entries.set(key, value);
    return Object.fromEntries(entries);
  };
  return JSON.stringify(edit(JSON_AREA, keys));
}

describe("LUKS2 header", () => {
  it("is a table that tiles the binary header", () => {
    let at = 0;
    for (const [field, offset, length] of LUKS2_BINARY) {
      assert.equal(offset, at, field);
      at += length;
    }
    assert.equal(at, LUKS2_BINARY_BYTES);
  });

  it("is accepted in the one form that sealet writes", () => {
    assert.equal(checkLuks2Header(header()).uuid, UUID);
  });

  it("is damaged where a copy's magic or checksum is wrong, or the copies disagree", () => {
    for (const at of [0, 450, 5000, 16384, 16384 + 450, 16384 + 4100]) {
      const bytes = header();
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      assert.equal(
        codeOf(() => parseLuks2Header(bytes)),
        "DISK_DAMAGED",
        `byte ${at}`,
      );
    }
    const bytes = header();
    bytes.writeBigUInt64BE(4n, 16384 + 16);
    repair(bytes, 1);
    assert.equal(
      codeOf(() => parseLuks2Header(bytes)),
      "DISK_DAMAGED",
    );
    const renamed = header();
    renamed.write(UUID.replace("4", "5"), 16384 + 168);
    repair(renamed, 1);
    assert.equal(
      codeOf(() => parseLuks2Header(renamed)),
      "DISK_DAMAGED",
    );
    assert.equal(
      codeOf(() => parseLuks2Header(Buffer.concat([header(), Buffer.alloc(1)]))),
      "DISK_DAMAGED",
    );
  });

  const deviations: readonly (readonly [string, string, unknown])[] = [
    ["cipher_null", "segments.0.encryption", "cipher_null-ecb"],
    ["no integrity", "segments.0.integrity", undefined],
    ["another integrity", "segments.0.integrity.type", "none"],
    ["journal encryption", "segments.0.integrity.journal_encryption", "ctr(aes)"],
    ["another sector size", "segments.0.sector_size", 512],
    ["another data offset", "segments.0.offset", "0"],
    ["another IV offset", "segments.0.iv_tweak", "8"],
    ["a fixed size", "segments.0.size", "4096"],
    ["a second segment", "segments.1", JSON_AREA.segments["0"]],
    ["a segment flag", "segments.0.flags", ["backup-final"]],
    ["a linear segment", "segments.0.type", "linear"],
    ["a second keyslot", "keyslots.1", JSON_AREA.keyslots["0"]],
    ["no keyslot", "keyslots.0", undefined],
    ["a keyslot area elsewhere", "keyslots.0.area.offset", "98304"],
    ["a keyslot in cipher_null", "keyslots.0.area.encryption", "cipher_null-ecb"],
    ["a shorter key", "keyslots.0.key_size", 0],
    ["few stripes", "keyslots.0.af.stripes", 1],
    ["a KDF that hangs", "keyslots.0.kdf.iterations", 4_000_000_000],
    ["a weak KDF", "keyslots.0.kdf.iterations", 1],
    ["argon2 with all memory", "keyslots.0.kdf", { type: "argon2id", time: 4, memory: 4194304, cpus: 4 }],
    ["a short salt", "keyslots.0.kdf.salt", "AAAA"],
    ["salt in loose base64", "keyslots.0.kdf.salt", "kzDm2sibYSbwnyVmFISXnq2QmFULyuGr8F3O3pOFA4J="],
    ["a priority", "keyslots.0.priority", 2],
    ["a token", "tokens.0", { type: "systemd-tpm2", keyslots: ["0"] }],
    ["a requirement", "config.requirements", { mandatory: ["online-reencrypt-v2"] }],
    ["a flag", "config.flags", ["allow-discards"]],
    ["another JSON size", "config.json_size", "28672"],
    ["a digest for no keyslot", "digests.0.keyslots", []],
    ["a digest for a second keyslot too", "digests.0.keyslots", ["0", "1"]],
    ["a digest that hangs", "digests.0.iterations", 4_000_000_000],
    ["a digest that takes longer than its bound", "digests.0.iterations", 100_001],
    ["a weak digest", "digests.0.iterations", 999],
    ["a second digest", "digests.1", JSON_AREA.digests["0"]],
    ["an unknown key", "extra", {}],
    ["__proto__", "segments.0.toString", 1],
  ];
  for (const [name, path, value] of deviations) {
    it(`I4 refuses ${name}, though its checksums are right`, () => {
      assert.equal(
        codeOf(() => checkLuks2Header(header(edited(path, value)))),
        "HEADER_PROFILE",
      );
    });
  }

  /** Dots address every value that is no object or list, as `edited` takes it. */
  const leaves = (at: object, path: string): (readonly [string, string | number])[] =>
    Object.entries(at).flatMap(([key, value]: [string, unknown]) =>
      typeof value === "string" || typeof value === "number"
        ? [[`${path}${key}`, value] as const]
        : typeof value === "object" && value !== null && !Array.isArray(value)
          ? leaves(value, `${path}${key}.`)
          : [],
    );

  it("I4 refuses it with any one value changed, of another type, or left out", () => {
    const all = leaves(JSON_AREA, "");
    assert.ok(all.length >= 30);
    for (const [path, value] of all) {
      const other = path === "digests.0.iterations" ? 0 : typeof value === "number" ? value + 1 : `${value}x`;
      for (const changed of [other, null, {}, undefined]) {
        assert.equal(
          codeOf(() => checkLuks2Header(header(edited(path, changed)))),
          "HEADER_PROFILE",
          `${path}: ${JSON.stringify(changed)}`,
        );
      }
    }
  });

  it("I4 refuses JSON that two readers could read differently", () => {
    const text = JSON.stringify(JSON_AREA);
    const twice = text.replace('"tokens":{}', '"tokens":{"0":{}},"tokens":{}');
    for (const json of [
      ` ${text}`,
      `${text} `,
      twice,
      text.replaceAll("/", "\\/"),
      "{}",
      "[]",
      "null",
      "",
      "{",
    ]) {
      assert.equal(
        codeOf(() => checkLuks2Header(header(json))),
        "HEADER_PROFILE",
        json.slice(0, 40),
      );
    }
  });

  const fields: readonly (readonly [string, (copy: Buffer) => unknown])[] = [
    ["version", (copy) => copy.writeUInt16BE(1, 6)],
    ["hdr_size", (copy) => copy.writeBigUInt64BE(32768n, 8)],
    ["label", (copy) => copy.write("x", 24)],
    ["csum_alg", (copy) => copy.write("sha512", 72)],
    ["uuid", (copy) => copy.write("A", 168)],
    ["subsystem", (copy) => copy.write("x", 208)],
    ["hdr_offset", (copy) => copy.writeBigUInt64BE(4096n, 256)],
    ["padding", (copy) => copy.writeUInt8(1, 300)],
    ["padding4096", (copy) => copy.writeUInt8(1, 4000)],
    ["JSON area's end", (copy) => copy.writeUInt8(1, 16383)],
  ];
  for (const [name, edit] of fields) {
    it(`I4 refuses a changed ${name}, though its checksum is right`, () => {
      for (const index of [0, 1] as const) {
        const bytes = header();
        edit(bytes.subarray(index * 16384, (index + 1) * 16384));
        repair(bytes, index);
        assert.equal(
          codeOf(() => checkLuks2Header(bytes)),
          "HEADER_PROFILE",
        );
      }
    });
  }

  it("I4 refuses data behind its checksum, which covers zeros there", () => {
    for (const at of [448 + 32, 16384 + 448 + 63]) {
      const bytes = header();
      bytes.writeUInt8(1, at);
      assert.equal(
        codeOf(() => checkLuks2Header(bytes)),
        "HEADER_PROFILE",
      );
    }
  });

  it("I4 refuses every mutant of its two copies, with an error of its own", () => {
    const good = header();
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 32767 }),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (at, flip, repaired) => {
          const bytes = Buffer.from(good);
          bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
          if (repaired) {
            repair(bytes, 0);
            repair(bytes, 1);
          }
          const code = codeOf(() => checkLuks2Header(bytes));
          // A salt, and the first copy's own salt field, may be anything: they are under the record's digest and MAC.
          if (code === "accepted") assert.ok(repaired && isFree(at), `byte ${at} is not checked`);
        },
      ),
      { numRuns: 400 },
    );
  });

  it("never throws anything but its own error, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (noise, repaired) => {
        const bytes = header(JSON.stringify(JSON_AREA));
        Buffer.from(noise).copy(bytes, 4096);
        if (repaired) repair(bytes, 0);
        codeOf(() => checkLuks2Header(bytes));
      }),
      { numRuns: 200 },
    );
  });
});

/** The bytes that differ from one header of sealet's to the next. */
function isFree(at: number): boolean {
  const inCopy = at % 16384;
  return (inCopy >= 104 && inCopy < 168) || (inCopy >= 448 && inCopy < 512);
}
