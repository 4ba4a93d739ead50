import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { ENROLMENT_TYPE } from "../../agent/config/enrolment.ts";
import { frameInitdata, unframeInitdata } from "../../agent/config/initdata-disk.ts";
import { asSealetError } from "../../agent/error.ts";
import { buildInitdata, initdataDigests, parseInitdata } from "../../agent/config/initdata.ts";

const claims = {
  cluster: "prod",
  node: "worker-1",
  role: "worker",
  serial: "00112233445566778899aabbccddeeff",
  created: "2026-11-01T00:00:00Z",
};

function envelope(payload: object = claims): Buffer {
  const signatures = [{ keyid: "ab".repeat(32), sig: Buffer.alloc(64).toString("base64") }];
  return Buffer.from(
    JSON.stringify({
      payloadType: ENROLMENT_TYPE,
      payload: Buffer.from(JSON.stringify(payload)).toString("base64"),
      signatures,
    }),
  );
}

const parts = {
  cluster: "prod",
  node: "worker-1",
  kms: { endpoints: ["kms.example.org:7443", "[fd00::1]:7443"], spkiSha256: Buffer.alloc(32, 7) },
  enrolment: envelope(),
};

const built = buildInitdata(parts);
const edited = (from: string | RegExp, to: string) => Buffer.from(built.toString().replace(from, to));

describe("initdata", () => {
  it("is read as it was built", () => {
    const read = parseInitdata(built);
    assert.deepEqual(read.kms, parts.kms);
    assert.deepEqual(JSON.parse(read.enrolment.toString()), JSON.parse(parts.enrolment.toString()));
    assert.deepEqual(read.claimed, claims);
    assert.equal(read.stateDisk.serial, "state");
  });

  it("is the same bytes for the same parts, and its digests are over those bytes", () => {
    assert.deepEqual(buildInitdata(parts), built);
    assert.deepEqual(initdataDigests(built).sha256, createHash("sha256").update(built).digest());
    assert.deepEqual(initdataDigests(built).sha384, createHash("sha384").update(built).digest());
  });

  it("reports every problem at once, with its path", () => {
    const bad = edited('"kms.example.org:7443"', '"kms.example.org"')
      .toString()
      .replace('"serial": "state"', '"x": 1');
    assert.throws(
      () => parseInitdata(Buffer.from(bad)),
      (error: Error & { code: string }) => {
        assert.equal(error.code, "INITDATA_INVALID");
        assert.match(error.message, /\.kms\.endpoints\[0\]/);
        assert.match(error.message, /\.stateDisk\.serial/);
        assert.match(error.message, /Unrecognized key: "x"/);
        return true;
      },
    );
  });

  const refused: Readonly<Record<string, Buffer>> = {
    "another version": edited("0.1.0", "0.2.0"),
    "another algorithm": edited("sha384", "sha256"),
    "a second document": Buffer.concat([built, Buffer.from('"policy.rego" = ""\n')]),
    "an unknown table": Buffer.concat([built, Buffer.from("[more]\n")]),
    "no TOML": Buffer.from("{}"),
    "no UTF-8": Buffer.concat([built, Buffer.from([0xff])]),
    "no UTF-8 in a comment": Buffer.concat([built, Buffer.from([0x23, 0xff, 0x0a])]),
    "an unknown key": edited('"node": "worker-1"', '"node": "worker-1", "debug": true'),
    "an unknown key of the KMS": edited('"spkiSha256"', '"insecure": true, "spkiSha256"'),
    "a pin that is cut": edited("07".repeat(32), "07".repeat(31)),
    "a pin in capitals": edited("07".repeat(32), "AB".repeat(32)),
    "a port that is none": edited("kms.example.org:7443", "kms.example.org:65536"),
    "a disk's serial that is a path": edited('"serial": "state"', '"serial": "state/../vda"'),
    "too much": Buffer.concat([built, Buffer.alloc(65536, "\n")]),
    "a name that is none": edited('"node": "worker-1"', '"node": "../worker"'),
    "an enrolment of another node": buildWithout(envelope({ ...claims, node: "worker-2" })),
    "an enrolment of another cluster": buildWithout(envelope({ ...claims, cluster: "test" })),
    "an enrolment with an unknown role": buildWithout(envelope({ ...claims, role: "admin" })),
    nothing: Buffer.alloc(0),
  };
  for (const [what, bytes] of Object.entries(refused))
    it(`refuses ${what}`, () => {
      assert.throws(() => parseInitdata(bytes), { code: "INITDATA_INVALID" });
    });

  /** The built document with another enrolment put in by hand: building it is refused as well. */
  function buildWithout(enrolment: Buffer): Buffer {
    assert.throws(() => buildInitdata({ ...parts, enrolment }), { code: "INITDATA_INVALID" });
    return edited(/"payload": "[^"]*"/, enrolment.toString().match(/"payload":"[^"]*"/)?.[0] ?? "");
  }
});

describe("initdata's disk", () => {
  it("gives the document back, from whole sectors and from more", () => {
    const image = frameInitdata(built);
    assert.equal(image.length % 4096, 0);
    assert.equal(image.subarray(0, 8).toString(), "initdata");
    assert.deepEqual(unframeInitdata(image), built);
    assert.deepEqual(unframeInitdata(Buffer.concat([image, Buffer.alloc(8192, 0xee)])), built);
  });

  it("is missing on any other disk", () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(4096), Buffer.from("initdat")])
      assert.throws(() => unframeInitdata(bytes), { code: "INITDATA_MISSING" });
  });

  it("is refused when cut, damaged, or when it would grow beyond the limit", () => {
    const image = frameInitdata(built);
    assert.throws(() => unframeInitdata(image.subarray(0, 200)), { code: "INITDATA_INVALID" });
    const flipped = Buffer.from(image);
    flipped[100] = (flipped[100] ?? 0) ^ 1;
    assert.throws(() => unframeInitdata(flipped), { code: "INITDATA_INVALID" });
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const head = Buffer.alloc(16);
    head.write("initdata");
    head.writeBigUInt64LE(BigInt(bomb.length), 8);
    assert.throws(() => unframeInitdata(Buffer.concat([head, bomb])), { code: "INITDATA_INVALID" });
    const long = Buffer.from(image);
    long.writeBigUInt64LE(BigInt(image.length - 15), 8);
    assert.throws(() => unframeInitdata(long), { code: "INITDATA_INVALID" });
    const huge = Buffer.from(image);
    huge.writeBigUInt64LE(2n ** 64n - 1n, 8);
    assert.throws(() => unframeInitdata(huge), { code: "INITDATA_INVALID" });
  });

  it("answers any bytes with a document or a code", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, magic) => {
        const image = magic ? Buffer.concat([Buffer.from("initdata"), bytes]) : bytes;
        try {
          unframeInitdata(image);
        } catch (error) {
          assert.match(asSealetError(error).code, /^INITDATA_(MISSING|INVALID)$/);
        }
      }),
      { numRuns: 300 },
    );
  });
});
