/** DSSE envelopes, report data, verdicts: small modules that much depends on. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import * as fc from "fast-check";
import { toBase64 } from "../../agent/attest/base64.ts";
import { keyId, openEnvelope, parseEnvelope, preAuthEncoding } from "../../agent/attest/dsse.ts";
import { evidenceReportData, frame, reportData, type Binding } from "../../agent/attest/report-data.ts";
import { parseJson } from "../../agent/attest/json.ts";
import { Checks, failures } from "../../agent/attest/verdict.ts";
import { webCrypto } from "../../agent/attest/webcrypto.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";

const crypto = nodeCrypto();
const key = generateKeyPairSync("ed25519").privateKey;
const other = generateKeyPairSync("ed25519").privateKey;
const spki = (from: KeyObject): Uint8Array => createPublicKey(from).export({ format: "der", type: "spki" });
const idOf = (from: KeyObject): string => createHash("sha256").update(spki(from)).digest("hex");
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const payload = new TextEncoder().encode("hello");
const TYPE = "application/vnd.sealet.test";

function envelope(
  change: Record<string, unknown> = {},
  signer: KeyObject = key,
  type = TYPE,
): Record<string, unknown> {
  const sig = toBase64(sign(null, preAuthEncoding(type, payload), signer));
  return {
    payloadType: type,
    payload: toBase64(payload),
    signatures: [{ keyid: idOf(signer), sig }],
    ...change,
  };
}

describe("DSSE", () => {
  it("encodes as the specification's example", () => {
    const text = new TextDecoder().decode(
      preAuthEncoding("http://example.com/HelloWorld", new TextEncoder().encode("hello world")),
    );
    assert.equal(text, "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
  });

  it("gives out the payload for a trusted key's signature", async () => {
    for (const implementation of [crypto, webCrypto()]) {
      const opened = await openEnvelope(implementation, bytes(envelope()), TYPE, [spki(other), spki(key)]);
      assert.ok(opened.ok);
      assert.deepEqual([...opened.payload], [...payload]);
      assert.equal(opened.keyid, await keyId(crypto, spki(key)));
    }
  });

  const good = envelope();
  const WRONG: readonly (readonly [what: string, file: Uint8Array, why: RegExp])[] = [
    ["another key", bytes(envelope({}, other)), /no signature of a trusted key/],
    ["another type", bytes(envelope({}, key, "another")), /payload type is "another"/],
    ["another payload", bytes({ ...good, payload: toBase64(Uint8Array.of(1)) }), /no signature/],
    [
      "another key's name",
      bytes({ ...good, signatures: [{ keyid: idOf(key), sig: toBase64(new Uint8Array(64)) }] }),
      /no signature/,
    ],
    [
      "a short signature",
      bytes({ ...good, signatures: [{ keyid: idOf(key), sig: "AAAA" }] }),
      /no signature/,
    ],
    ["no signatures", bytes({ ...good, signatures: [] }), /0 signatures/],
    [
      "too many signatures",
      bytes({ ...good, signatures: Array.from({ length: 17 }, () => ({ keyid: "", sig: "" })) }),
      /17 signatures/,
    ],
    ["an unknown key", bytes({ ...good, extra: 1 }), /unknown key "extra"/],
    [
      "an unknown key of a signature",
      bytes({ ...good, signatures: [{ keyid: "", sig: "", cert: "" }] }),
      /unknown key "cert"/,
    ],
    ["a signature of another type", bytes({ ...good, signatures: [{ keyid: 1, sig: "" }] }), /no string/],
    ["payload of another type", bytes({ ...good, payload: 1 }), /another type/],
    ["payload in base64url", bytes({ ...good, payload: "_-==" }), /not a base64 digit/],
    ["a list", bytes([]), /not a JSON object/],
    ["no JSON", new TextEncoder().encode("{"), /JSON/],
    ["no UTF-8", Uint8Array.of(0xff), /not UTF-8/],
    ["over the limit", new Uint8Array(4 * 1024 * 1024 + 1), /over/],
  ];
  for (const [what, file, why] of WRONG)
    it(`refuses ${what}`, async () => {
      const opened = await openEnvelope(crypto, file, TYPE, [spki(key)]);
      assert.ok(!opened.ok);
      assert.match(opened.why, why);
    });

  it("trusts nobody by default", async () => {
    assert.equal((await openEnvelope(crypto, bytes(envelope()), TYPE, [])).ok, false);
    assert.ok(parseEnvelope(bytes(envelope())).ok);
  });
});

const framed = (data: Uint8Array): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  return Buffer.concat([length, data]);
};

const parse = (text: string): unknown => parseJson(new TextEncoder().encode(text), "file");

describe("strict JSON", () => {
  const GOOD = [
    '{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":"a","d":["a","a"]}',
    '["a","a"]',
    '"a"',
    "1",
    '{"a":"\\"a\\":1,{"}',
    '{"a\\\\":"\\\\","a":"\\\\\\"","b":{"a":1}}',
  ];
  for (const text of GOOD) it(`reads ${text}`, () => assert.deepEqual(parse(text), JSON.parse(text)));

  const TWICE = [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":[{"a":1,"b":{},"a":1}]}',
    '{"a":{},"b":1,"a":[]}',
    '{"a\\\\":"\\\\","b":"\\"","a\\\\":2}',
  ];
  for (const text of TWICE)
    it(`refuses ${text}`, () => assert.throws(() => parse(text), { code: "DUPLICATE" }));

  it("refuses what is no JSON, or too deep", () => {
    assert.throws(() => parse("{a:1}"), { code: "ENCODING" });
    assert.throws(() => parse("[".repeat(100) + "]".repeat(100)), { code: "TOO_LARGE" });
  });

  it("agrees with JSON.parse on every value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) =>
        assert.deepEqual(parse(JSON.stringify(value)), JSON.parse(JSON.stringify(value))),
      ),
    );
  });
});

describe("report data", () => {
  const binding: Binding = {
    purpose: "unseal",
    nonce: new Uint8Array(32).fill(1),
    kmsSpki: new Uint8Array(91).fill(2),
    nodeSpki: new Uint8Array(91).fill(3),
    kemPublicKey: new Uint8Array(1216).fill(4),
    body: new Uint8Array(100).fill(5),
  };

  it("is the hash that the contract states", async () => {
    const { nonce, kmsSpki, nodeSpki, kemPublicKey, body } = binding;
    const digest = createHash("sha512").update(body).digest();
    const parts = [Buffer.from("sealet/v1/unseal"), nonce, kmsSpki, nodeSpki, kemPublicKey, digest].map(
      framed,
    );
    const expected = createHash("sha512").update(Buffer.concat(parts)).digest();
    assert.deepEqual([...(await reportData(crypto, binding))], [...expected]);
    assert.deepEqual([...(await reportData(webCrypto(), binding))], [...expected]);
  });

  it("changes with each part", async () => {
    const all = [
      binding,
      { ...binding, purpose: "renew" as const },
      { ...binding, nonce: new Uint8Array(32) },
      { ...binding, kmsSpki: new Uint8Array(91) },
      { ...binding, nodeSpki: new Uint8Array(91) },
      { ...binding, kemPublicKey: new Uint8Array(0) },
      { ...binding, body: new Uint8Array(0) },
    ];
    const seen = new Set<string>();
    for (const one of all) seen.add(Buffer.from(await reportData(crypto, one)).toString("hex"));
    seen.add(Buffer.from(await evidenceReportData(crypto, binding.nonce)).toString("hex"));
    assert.equal(seen.size, all.length + 1);
  });

  it("frames so that moving a byte over a border changes it", () => {
    const a = frame(Uint8Array.of(1, 2), Uint8Array.of(3));
    const b = frame(Uint8Array.of(1), Uint8Array.of(2, 3));
    assert.notDeepEqual([...a], [...b]);
    assert.deepEqual([...frame(Uint8Array.of(9))], [0, 0, 0, 1, 9]);
  });
});

describe("verdicts", () => {
  const demanded = ["a", "b"] as const;

  it("accept only when each demanded predicate was evaluated and held", () => {
    const checks = new Checks<"a" | "b">();
    assert.equal(checks.verdict("tee", demanded, {}).accepted, false);
    checks.check("a", true, "x", () => "y");
    const half = checks.verdict("tee", demanded, () => ({ n: 1 }));
    assert.equal(half.accepted, false);
    assert.deepEqual(half.notEvaluated, ["b"]);
    assert.deepEqual(half.claims, { n: 1 });
    // the same predicate again stands for no other
    checks.check("a", true, "x", "y");
    assert.equal(checks.verdict("tee", demanded, {}).accepted, false);
    checks.unchecked("b", "because", "z");
    assert.ok(checks.has("b"));
    const whole = checks.verdict("tee", demanded, {});
    assert.equal(whole.accepted, true);
    assert.deepEqual(JSON.parse(JSON.stringify(whole.predicates.at(-1))), {
      code: "b",
      ok: true,
      expected: "not checked",
      found: "z",
      unchecked: "because",
    });
    checks.equal("b", Uint8Array.of(1), Uint8Array.of(2));
    const refused = checks.verdict("tee", demanded, {});
    assert.equal(refused.accepted, false);
    assert.deepEqual(failures(refused), ["b"]);
    assert.equal(refused.predicates.at(-1)?.expected, "01");
  });

  it("demanding nothing accepts nothing", () => {
    assert.equal(new Checks().verdict("tee", [], {}).accepted, false);
  });
});
