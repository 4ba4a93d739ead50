import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import * as fc from "fast-check";
import { hex } from "../../../agent/attest/bytes.ts";
import { decodeCbor, sigStructure } from "../../../agent/attest/cca/cbor.ts";
import { ccaPolicy, type CcaPolicy } from "../../../agent/attest/cca/policy.ts";
import { CCA_DEMANDED, verifyCca, type CcaCode, type CcaInput } from "../../../agent/attest/cca/verify.ts";
import { attempt } from "../../../agent/attest/malformed.ts";
import { failures, type Verdict } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { cbor, CcaPlatform, pointOf, type Item, type TokenOptions } from "../../twin/cca.ts";

const crypto = nodeCrypto();
const platform = new CcaPlatform();
const other = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
const bytes = (value: number, size = 32): Uint8Array => new Uint8Array(size).fill(value);
const only = (value: number, size = 32) => ({ anyOf: [hex(bytes(value, size))] });

function policyOf(change: Partial<CcaPolicy> = {}): CcaPolicy {
  return ccaPolicy.parse({
    platforms: [{ instanceId: hex(platform.instanceId), key: hex(pointOf(platform.key)) }],
    implementationId: only(1),
    config: { anyOf: ["cf"] },
    softwareComponents: [{ measurement: hex(bytes(2)), signerId: hex(bytes(5)) }],
    lifecycle: "secured",
    initialMeasurement: only(8),
    extensibleMeasurements: [only(0), only(0), only(0), only(0)],
    personalization: "initdata",
    ...change,
  });
}
const POLICY = policyOf();

function appraise(token: Uint8Array, change: Partial<CcaInput> = {}): Promise<Verdict> {
  const expect = { reportData: new Uint8Array(64), initdataDigest: new Uint8Array(48) };
  return verifyCca({ token, policy: POLICY, expect, crypto, ...change });
}

const noSignature = {
  ...crypto,
  verify: (): Promise<boolean> => Promise.reject(new Error("a signature was verified")),
};
const REMS = ["cca.realm.rem0", "cca.realm.rem1", "cca.realm.rem2", "cca.realm.rem3"] as const;

describe("Arm CCA tokens", () => {
  for (const wrap of ["rmm", "cmw"] as const)
    for (const key of ["cose", "point"] as const)
      it(`what the twin makes is accepted: ${wrap}, key as ${key}`, async () => {
        const verdict = await appraise(platform.token({ wrap, key }));
        assert.deepEqual(failures(verdict), []);
        assert.deepEqual(verdict.notEvaluated, []);
        assert.equal(verdict.accepted, true);
      });

  const component = (measurement: number): Item => [
    new Map<number, Item>([
      [2, bytes(measurement)],
      [5, bytes(5)],
    ]),
  ];
  const cases: readonly (readonly [
    code: CcaCode,
    what: string,
    options: TokenOptions,
    change?: Partial<CcaInput>,
  ])[] = [
    ["cca.token.format", "another collection", { collection: (parts) => ({ tag: 400, value: parts }) }],
    ["cca.token.format", "no collection", { collection: (parts) => parts }],
    [
      "cca.token.format",
      "a third token",
      { collection: (parts) => ({ tag: 399, value: parts.set(1, bytes(0)) }) },
    ],
    [
      "cca.token.format",
      "another content type",
      { wrap: "cmw", collection: (parts) => ({ tag: 907, value: parts.set(44234, [601, bytes(0)]) }) },
    ],
    [
      "cca.token.format",
      "no realm token",
      { collection: (parts) => (parts.delete(44241), { tag: 399, value: parts }) },
    ],
    ["cca.token.format", "COSE_Mac0 in its place", { platformSign: { tag: 17 } }],
    ["cca.token.format", "ES256", { platformSign: { header: new Map<number, Item>([[1, -7]]) } }],
    [
      "cca.token.format",
      "a critical parameter",
      {
        realmSign: {
          header: new Map<number, Item>([
            [1, -35],
            [2, [99]],
          ]),
        },
      },
    ],
    ["cca.token.format", "no profile of the platform", { platform: { 265: undefined } }],
    ["cca.token.format", "no software components", { platform: { 2399: [] } }],
    [
      "cca.token.format",
      "three extensible measurements",
      { realm: { 44239: [bytes(0), bytes(0), bytes(0)] } },
    ],
    ["cca.token.format", "a challenge of 32 bytes", { realm: { 10: bytes(0) } }],
    [
      "cca.token.format",
      "a key on another curve",
      {
        realm: {
          44237: cbor(
            new Map<number, Item>([
              [1, 2],
              [-1, 1],
              [-2, bytes(0)],
              [-3, bytes(0)],
            ]),
          ),
        },
      },
    ],
    ["cca.token.format", "another hash of the key", { realm: { 44240: "md5" } }],
    ["cca.token.format", "a signature that is no byte string", { realmSign: { signature: 0 } }],
    ["cca.token.format", "a signature of P-256's size", { realmSign: { signature: bytes(1, 64) } }],
    ["cca.token.format", "a longer signature", { platformSign: { signature: bytes(1, 97) } }],
    ["cca.token.format", "claims that are a list", { platformSign: { payload: [1] } }],
    ["cca.token.format", "a profile that is a number", { realm: { 265: 1 } }],
    ["cca.token.format", "a software component that is a text", { platform: { 2399: ["RMM"] } }],
    [
      "cca.token.format",
      "a key with short coordinates",
      {
        realm: {
          44237: cbor(
            new Map<number, Item>([
              [1, 2],
              [-1, 2],
              [-2, bytes(1, 48)],
              [-3, bytes(1, 47)],
            ]),
          ),
        },
      },
    ],
    [
      "cca.token.format",
      "over the budget",
      { collection: (parts) => ({ tag: 399, value: parts.set(44234, bytes(0, 1 << 20)) }) },
    ],
    ["cca.token.profile", "platform's", { platform: { 265: "tag:arm.com,2099:cca_platform#9" } }],
    ["cca.token.profile", "realm's", { realm: { 265: "x" } }],
    ["cca.platform.known", "an instance that nobody named", { platform: { 256: bytes(9, 33) } }],
    ["cca.platform.signature", "another key's", { platformSign: { signWith: other } }],
    ["cca.token.format", "a lifecycle that is a text", { platform: { 2395: "secured" } }],
    ["cca.platform.lifecycle", "debug", { platform: { 2395: 0x4000 } }],
    ["cca.platform.lifecycle", "not negative either", { platform: { 2395: -1 } }],
    ["cca.platform.implementation", "another", { platform: { 2396: bytes(9) } }],
    ["cca.platform.config", "another", { platform: { 2401: bytes(9) } }],
    ["cca.platform.software", "another", { platform: { 2399: component(9) } }],
    ["cca.realm.binding", "another realm's key", { platform: { 10: bytes(9) } }],
    ["cca.realm.signature", "another key's", { realmSign: { signWith: other } }],
    ["cca.realm.challenge", "another's", { realm: { 10: bytes(9, 64) } }],
    ["cca.realm.initial-measurement", "another", { realm: { 44238: bytes(9) } }],
    ...REMS.map(
      (code, i) =>
        [code, "another", { realm: { 44239: REMS.map((_, j) => bytes(i === j ? 9 : 0)) } }] as const,
    ),
    ["cca.platform.lifecycle", "secured, and more above", { platform: { 2395: 0x7f003003 } }],
    [
      "cca.realm.personalization",
      "initdata that nobody named",
      {},
      { expect: { reportData: new Uint8Array(64) } },
    ],
    [
      "cca.realm.personalization",
      "none of those listed",
      {},
      { policy: policyOf({ personalization: only(9, 64) }) },
    ],
  ];
  for (const [code, what, options, change] of cases)
    it(`${code}: ${what}`, async () => {
      const verdict = await appraise(platform.token(options), change);
      assert.deepEqual(failures(verdict), [code]);
      assert.equal(verdict.accepted, false);
      assert.equal("realm" in verdict.claims, code !== "cca.token.format");
    });

  it("every predicate has such a test", () => {
    const tested = new Set<string>(cases.map(([code]) => code));
    assert.deepEqual(
      CCA_DEMANDED.filter((code) => !tested.has(code)),
      [],
    );
  });

  it("a realm key of another realm on the same platform does not pass", async () => {
    const second = new CcaPlatform();
    const verdict = await appraise(
      platform.token({
        realm: { 44237: pointOf(second.realmKey) },
        realmSign: { signWith: second.realmKey },
      }),
    );
    assert.deepEqual(failures(verdict), ["cca.realm.binding"]);
  });

  it("says what it found, and what it was told not to look at", async () => {
    const token = platform.token({ platform: { 2399: component(2) }, realm: { 265: undefined } });
    const verdict = await appraise(token, {
      expect: { reportData: { unchecked: "a look at a stranger's" }, initdataDigest: new Uint8Array(48) },
    });
    assert.equal(verdict.accepted, true);
    const challenge = verdict.predicates.find(({ code }) => code === "cca.realm.challenge");
    assert.deepEqual(
      [challenge?.unchecked, challenge?.found],
      ["a look at a stranger's", hex(new Uint8Array(64))],
    );
    assert.deepEqual(verdict.claims["platform"], {
      profile: "tag:arm.com,2023:cca_platform#1.0.0",
      implementationId: hex(bytes(1)),
      instanceId: hex(platform.instanceId),
      lifecycle: 0x3003,
      config: "cf",
      softwareComponents: [{ type: "", measurement: hex(bytes(2)), version: "", signerId: hex(bytes(5)) }],
    });
  });

  it("long protected headers and payloads are signed as COSE encodes their length", () => {
    for (const size of [1, 23, 24, 255, 256, 65_535, 65_536])
      assert.deepEqual(
        Buffer.from(sigStructure(bytes(1, 3), bytes(2, size))),
        Buffer.from(cbor(["Signature1", bytes(1, 3), new Uint8Array(0), bytes(2, size)])),
      );
  });

  it("brief: no signature is verified after a cheap predicate failed", async () => {
    const verdict = await appraise(platform.token({ realm: { 10: bytes(9, 64) } }), {
      crypto: noSignature,
      brief: true,
    });
    assert.deepEqual(failures(verdict), ["cca.realm.challenge"]);
    assert.equal(verdict.accepted, false);
  });

  it("mutants are refused", async () => {
    const token = platform.token();
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: token.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        fc.constantFrom("flip", "cut", "double"),
        async (at, flip, how) => {
          const mutant =
            how === "cut"
              ? token.slice(0, at)
              : how === "double"
                ? new Uint8Array([...token.subarray(0, at), ...token.subarray(at - 1)])
                : Uint8Array.from(token);
          if (how === "flip") mutant[at] = (mutant[at] ?? 0) ^ flip;
          const verdict = await appraise(mutant);
          assert.equal(verdict.accepted && hex(mutant) !== hex(token), false);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("CBOR", () => {
  it("one reading: preferred serialization, definite lengths, no duplicates, nothing after", () => {
    const bad: readonly (readonly [text: string, code: string])[] = [
      ["", "TRUNCATED"],
      ["0000", "TRAILING"],
      ["1800", "ENCODING"],
      ["190017", "ENCODING"],
      ["1a0000ffff", "ENCODING"],
      ["1b00000000ffffffff", "ENCODING"],
      ["1bffffffffffffffff", "TOO_LARGE"],
      ["5f4100ff", "ENCODING"],
      ["9fff", "ENCODING"],
      ["1c", "ENCODING"],
      ["f7", "UNSUPPORTED"],
      ["f93c00", "UNSUPPORTED"],
      ["a201000100", "DUPLICATE"],
      ["a14000", "UNSUPPORTED"],
      ["4400", "TRUNCATED"],
      ["9a00ffffff", "TRUNCATED"],
      ["ba00ffffff", "TRUNCATED"],
      ["61ff", "ENCODING"],
      ["81".repeat(20) + "00", "TOO_LARGE"],
      ["c1".repeat(20) + "00", "TOO_LARGE"],
      ["991fff" + "00".repeat(0x1fff), "TOO_LARGE"],
    ];
    for (const [text, code] of bad)
      assert.throws(
        () => decodeCbor(Uint8Array.from(Buffer.from(text, "hex")), "CBOR"),
        { name: "Malformed", code },
        text.slice(0, 40),
      );
  });

  it("what is written is read", () => {
    const item = fc.letrec<{ item: Item }>((tie) => ({
      item: fc.oneof(
        { maxDepth: 3 },
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        fc.string({ unit: "grapheme" }),
        fc.boolean(),
        fc.constant(null),
        fc.uint8Array(),
        fc.array(tie("item"), { maxLength: 4 }),
      ),
    })).item;
    fc.assert(
      fc.property(item, (value) => {
        const encoded = cbor(value);
        assert.deepEqual(cbor(decodeCbor(encoded, "CBOR")), encoded);
      }),
    );
  });

  it("junk is refused, never thrown", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (junk) => void attempt(() => decodeCbor(junk, "CBOR"))),
      { numRuns: 3000 },
    );
  });
});
