/** Certificates and CRLs: what is not as RFC 5280 and DER have it is refused, with the place. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, type KeyObject, createPublicKey } from "node:crypto";
import * as fc from "fast-check";
import {
  ecdsaToP1363,
  isCurrent,
  isRevoked,
  isSignedBy,
  issuerProblem,
  isValidAt,
  matchAlgorithm,
  timeText,
  unknownCritical,
} from "../../agent/attest/chain.ts";
import { attempt } from "../../agent/attest/malformed.ts";
import { webCrypto } from "../../agent/attest/webcrypto.ts";
import {
  basicConstraints,
  commonName,
  crlUris,
  describeSignature,
  keyUsage,
  parseCertificate,
  parseCrl,
  parsePemCertificates,
  parsePublicKey,
  type Certificate,
} from "../../agent/attest/x509.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import * as der from "../twin/der.ts";
import { vector, vectorText } from "./vectors.ts";

const AT = Date.parse("2026-01-01T00:00:00Z");
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
const ed25519 = generateKeyPairSync("ed25519").privateKey;
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;

const ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"));
const ECDSA_SHA384 = der.sequence(der.oid("1.2.840.10045.4.3.3"));
const RSA_SHA256 = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.nul());
const ED25519 = der.sequence(der.oid("1.3.101.112"));

const spki = (key: KeyObject): Uint8Array => createPublicKey(key).export({ format: "der", type: "spki" });
const nameOf = (text: string): Uint8Array =>
  der.sequence(der.set(der.sequence(der.oid("2.5.4.3"), der.utf8(text))));

interface Fields {
  readonly version: Uint8Array;
  readonly serial: Uint8Array;
  readonly inner: Uint8Array;
  readonly outer: Uint8Array;
  readonly issuer: Uint8Array;
  readonly validity: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly extensions: readonly Uint8Array[];
  readonly sign: (tbs: Uint8Array) => Uint8Array;
  readonly tail: readonly Uint8Array[];
}

const time = (text: string): Uint8Array => der.time(new Date(text));
const CA = [
  der.extension("2.5.29.19", der.sequence(der.bool(true), der.integer(0)), true),
  der.extension("2.5.29.15", der.bitString(Uint8Array.of(0x06), 1), true),
];

const DEFAULTS: Fields = {
  version: der.context(0, der.integer(2)),
  serial: der.integer(0x1234),
  inner: ECDSA_SHA256,
  outer: ECDSA_SHA256,
  issuer: nameOf("root"),
  validity: der.sequence(time("2025-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z")),
  subject: nameOf("root"),
  spki: spki(p256),
  extensions: CA,
  sign: (tbs) => sign("sha256", tbs, p256),
  tail: [],
};

function certificate(change: Partial<Fields> = {}): Uint8Array {
  const fields = { ...DEFAULTS, ...change };
  const tbs = der.sequence(
    fields.version,
    fields.serial,
    fields.inner,
    fields.issuer,
    fields.validity,
    fields.subject,
    fields.spki,
    ...(fields.extensions.length > 0 ? [der.context(3, der.sequence(...fields.extensions))] : []),
    ...fields.tail,
  );
  return der.sequence(tbs, fields.outer, der.bitString(fields.sign(tbs)));
}

function crl(
  parts: {
    next?: boolean;
    extensions?: readonly Uint8Array[];
    serials?: readonly number[];
    version?: number;
  } = {},
): Uint8Array {
  const entries = (parts.serials ?? [7]).map((serial) =>
    der.sequence(
      der.integer(serial),
      time("2025-06-01T00:00:00Z"),
      der.sequence(der.extension("2.5.29.21", der.tlv(0x0a, Uint8Array.of(1)))),
    ),
  );
  const tbs = der.sequence(
    der.integer(parts.version ?? 1),
    ECDSA_SHA256,
    nameOf("root"),
    time("2025-12-01T00:00:00Z"),
    ...(parts.next === false ? [] : [time("2026-02-01T00:00:00Z")]),
    der.sequence(...entries),
    der.context(0, der.sequence(...(parts.extensions ?? [der.extension("2.5.29.20", der.integer(1))]))),
  );
  return der.sequence(tbs, ECDSA_SHA256, der.bitString(sign("sha256", tbs, p256)));
}

const nameAttribute = (value: Uint8Array): Uint8Array => der.set(der.sequence(der.oid("2.5.4.3"), value));

const algorithmText = (outer: Uint8Array): string => {
  const parsed = attempt(() => parseCertificate(certificate({ inner: outer, outer })));
  assert.ok(parsed.ok);
  return describeSignature(parsed.value.signatureAlgorithm);
};

describe("X.509 certificates", () => {
  it("parses what it is meant to", () => {
    const parsed = parseCertificate(certificate());
    assert.equal(commonName(parsed.subject), "root");
    assert.deepEqual([...parsed.serial], [0x12, 0x34]);
    assert.equal(parsed.publicKey.kind, "p256");
    assert.deepEqual(basicConstraints(parsed), { ca: true, pathLength: 0 });
    assert.equal(keyUsage(parsed)?.(5), true);
    assert.ok(isValidAt(parsed, AT));
    assert.ok(isValidAt(parsed, parsed.notBefore) && isValidAt(parsed, parsed.notAfter));
    assert.ok(!isValidAt(parsed, parsed.notBefore - 1) && !isValidAt(parsed, parsed.notAfter + 1));
    assert.deepEqual(crlUris(parsed), []);
    assert.equal(timeText(parsed.notAfter), "2027-01-01T00:00:00Z");
    const bare = parseCertificate(certificate({ extensions: [] }));
    assert.equal(basicConstraints(bare), undefined);
    assert.equal(keyUsage(bare), undefined);
  });

  const uncompressed = Buffer.from(spki(p256));
  const compressed = der.sequence(
    der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7")),
    der.bitString(Buffer.concat([Uint8Array.of(2), uncompressed.subarray(-64, -32)])),
  );
  const BAD: readonly (readonly [what: string, bytes: Uint8Array, code: string])[] = [
    ["trailing bytes", Buffer.concat([certificate(), Uint8Array.of(0)]), "TRAILING"],
    ["a cut", certificate().subarray(0, -1), "TRUNCATED"],
    ["version 1", certificate({ version: der.context(0, der.integer(0)) }), "UNEXPECTED"],
    ["version twice", certificate({ version: der.context(0, der.integer(2), der.integer(2)) }), "TRAILING"],
    ["algorithms that differ", certificate({ inner: ECDSA_SHA384 }), "UNEXPECTED"],
    [
      "parameters of ECDSA",
      certificate({ outer: der.sequence(der.oid("1.2.840.10045.4.3.2"), der.nul()) }),
      "TRAILING",
    ],
    [
      "no parameters of RSA",
      certificate({ outer: der.sequence(der.oid("1.2.840.113549.1.1.11")) }),
      "TRUNCATED",
    ],
    [
      "NULL with contents",
      certificate({ outer: der.sequence(der.oid("1.2.840.113549.1.1.11"), der.tlv(5, Uint8Array.of(1))) }),
      "ENCODING",
    ],
    ["an extension twice", certificate({ extensions: [...CA, ...CA] }), "DUPLICATE"],
    [
      "too many extensions",
      certificate({ extensions: Array.from({ length: 41 }, (_, i) => der.extension(`1.2.${i}`, der.nul())) }),
      "TOO_LARGE",
    ],
    [
      "critical FALSE, encoded",
      certificate({ extensions: [der.sequence(der.oid("1.2.3"), der.bool(false), der.octets(der.nul()))] }),
      "ENCODING",
    ],
    ["something after the extensions", certificate({ tail: [der.nul()] }), "TRAILING"],
    ["a compressed point", certificate({ spki: compressed }), "UNSUPPORTED"],
    [
      "an attribute without a value",
      certificate({ subject: der.sequence(der.set(der.sequence(der.oid("2.5.4.3")))) }),
      "TRUNCATED",
    ],
    ["an empty RDN", certificate({ subject: der.sequence(der.set()) }), "TRUNCATED"],
    [
      "over 16 KiB",
      certificate({ extensions: [der.extension("1.2.3", new Uint8Array(17_000))] }),
      "TOO_LARGE",
    ],
    ["a trailer field of 2", certificate({ outer: pss([der.context(3, der.integer(2))]) }), "UNSUPPORTED"],
    [
      "a mask of another kind",
      certificate({ outer: pss([der.context(1, der.sequence(der.oid("1.2.3")))]) }),
      "UNSUPPORTED",
    ],
  ];
  for (const [what, bytes, code] of BAD)
    it(`refuses ${what} (${code})`, () =>
      assert.throws(() => parseCertificate(bytes), { name: "Malformed", code }));

  it("extensions that don't parse are refused where they are read", () => {
    const odd = parseCertificate(
      certificate({
        extensions: [der.extension("2.5.29.19", der.nul()), der.extension("2.5.29.15", der.nul())],
      }),
    );
    assert.throws(() => basicConstraints(odd), { code: "UNEXPECTED" });
    assert.throws(() => keyUsage(odd), { code: "UNEXPECTED" });
    assert.match(issuerProblem(odd, odd, { casBelow: 0 }) ?? "", /no CA/);
  });

  it("names: text whatever its string type, several values none", () => {
    const two = parseCertificate(
      certificate({ subject: der.sequence(nameAttribute(der.utf8("a")), nameAttribute(der.utf8("b"))) }),
    );
    assert.equal(commonName(two.subject), undefined);
    const odd = parseCertificate(certificate({ subject: der.sequence(nameAttribute(der.utf8("a\nü"))) }));
    assert.equal(commonName(odd.subject), "a\\x0a\\xc3\\xbc");
  });

  it("says what an algorithm is", () => {
    assert.equal(algorithmText(RSA_SHA256), "rsa-pkcs1 sha256");
    assert.equal(algorithmText(ED25519), "ed25519");
    assert.equal(algorithmText(der.sequence(der.oid("1.2.3"))), "algorithm 1.2.3");
    assert.equal(algorithmText(pss([])), "rsa-pss sha1 mgf1-sha1 salt 20");
    assert.equal(
      algorithmText(pss([der.context(0, der.sequence(der.oid("1.2.3")))])),
      "rsa-pss 1.2.3 mgf1-sha1 salt 20",
    );
  });

  it("reads keys of each kind", () => {
    assert.equal(parsePublicKey(spki(p384)).kind, "p384");
    assert.equal(parsePublicKey(spki(ed25519)).kind, "ed25519");
    const key = parsePublicKey(spki(rsa));
    assert.ok(key.kind === "rsa" && key.bits === 2048 && key.exponent === 65537);
    assert.equal(parsePublicKey(spki(generateKeyPairSync("x25519").privateKey)).kind, "other");
    assert.equal(
      parsePublicKey(spki(generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey)).kind,
      "other",
    );
    assert.throws(() => parsePublicKey(Buffer.concat([spki(p256), Uint8Array.of(0)])), { code: "TRAILING" });
  });

  it("reads AMD's and Intel's distribution points", () => {
    const [ask] = parsePemCertificates(vectorText("virtee-sev/builtin/milan-ask.pem"));
    assert.ok(ask);
    assert.deepEqual(crlUris(ask), ["https://kdsintf.amd.com/vcek/v1/Milan/crl"]);
  });

  it("distribution points that are no plain URI are passed over", () => {
    const uri = der.tlv(0x86, Buffer.from("https://a.example/crl"));
    const points = der.sequence(
      // reasons and an issuer alone, a name relative to the issuer, a directory's name, and one that counts
      der.sequence(der.tlv(0x81, Uint8Array.of(0, 0x80))),
      der.sequence(der.context(0, der.context(1, der.sequence()))),
      der.sequence(der.context(0, der.context(0, der.tlv(0xa4, nameOf("directory")), uri))),
    );
    const parsed = parseCertificate(certificate({ extensions: [der.extension("2.5.29.31", points)] }));
    assert.deepEqual(crlUris(parsed), ["https://a.example/crl"]);
    assert.equal(timeText(Number.NaN), "NaN");
  });

  it("PEM of something else is refused", () => {
    assert.throws(() => parsePemCertificates("-----BEGIN X509 CRL-----\nAAEC\n-----END X509 CRL-----\n"), {
      code: "UNEXPECTED",
    });
  });

  it("mutants of a genuine certificate parse or are refused, and never verify", async () => {
    const genuine = vector("trustee/snp/test-vcek.der");
    const [ask] = parsePemCertificates(vectorText("virtee-sev/builtin/milan-ask.pem"));
    assert.ok(ask);
    const crypto = nodeCrypto();
    await fc.assert(
      fc.asyncProperty(fc.nat(genuine.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const mutant = Uint8Array.from(genuine);
        mutant[at] = (mutant[at] ?? 0) ^ flip;
        const parsed = attempt(() => parseCertificate(mutant));
        if (!parsed.ok) return;
        // bytes outside of the signed part are the signature, or the copy of its algorithm
        assert.equal(await isSignedBy(crypto, parsed.value, ask.publicKey), false);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("CRLs", () => {
  it("parses what it is meant to", () => {
    const parsed = parseCrl(crl());
    assert.ok(isRevoked(parsed, Uint8Array.of(7)));
    assert.ok(!isRevoked(parsed, Uint8Array.of(8)));
    assert.ok(!isRevoked(parsed, Uint8Array.of(0, 7)));
    assert.equal(parsed.revoked.length, 1);
    assert.deepEqual(
      [...parsed.revoked].map(({ serial }) => serial),
      [Uint8Array.of(7)],
    );
    assert.ok(isCurrent(parsed, AT));
    assert.ok(isCurrent(parsed, parsed.thisUpdate) && !isCurrent(parsed, parsed.nextUpdate));
  });
  const BAD: readonly (readonly [what: string, bytes: Uint8Array, code: string])[] = [
    ["no nextUpdate", crl({ next: false }), "UNEXPECTED"],
    ["version 1", crl({ version: 0 }), "UNEXPECTED"],
    [
      "a critical extension (a delta CRL, say)",
      crl({ extensions: [der.extension("2.5.29.27", der.integer(1), true)] }),
      "UNSUPPORTED",
    ],
    ["trailing bytes", Buffer.concat([crl(), Uint8Array.of(0)]), "TRAILING"],
    ["over 1 MiB", new Uint8Array(1024 * 1024 + 1), "TOO_LARGE"],
    ["a certificate", certificate(), "UNEXPECTED"],
  ];
  for (const [what, bytes, code] of BAD)
    it(`refuses ${what} (${code})`, () => assert.throws(() => parseCrl(bytes), { name: "Malformed", code }));
});

const flags = (bits: number): Uint8Array =>
  der.extension("2.5.29.15", der.bitString(Uint8Array.of(bits), 1), true);

const signatureOf = (r: Uint8Array, s: Uint8Array): Uint8Array => der.sequence(der.tlv(2, r), der.tlv(2, s));

describe("issuing", () => {
  const root = parseCertificate(certificate());
  const child = (change: Partial<Fields> = {}): Certificate =>
    parseCertificate(certificate({ subject: nameOf("leaf"), extensions: [], ...change }));

  it("by the right name, flags and key", () => {
    assert.equal(issuerProblem(root, child(), { casBelow: 0 }), undefined);
    assert.equal(issuerProblem(root, parseCrl(crl()), { casBelow: 0, crl: true }), undefined);
  });
  const other = (change: Partial<Fields>): Certificate => parseCertificate(certificate(change));
  const [constraints] = CA;
  assert.ok(constraints);
  const WRONG: readonly (readonly [Certificate, Certificate, number, RegExp])[] = [
    [other({ subject: nameOf("another") }), child(), 0, /name differs/],
    [other({ extensions: [flags(6)] }), child(), 0, /no CA/],
    [other({ extensions: [der.extension("2.5.29.19", der.sequence()), flags(6)] }), child(), 0, /no CA/],
    [root, child(), 1, /pathLenConstraint is 0/],
    [other({ extensions: [constraints] }), child(), 0, /keyUsage lacks keyCertSign/],
    [other({ extensions: [constraints, flags(2)] }), child(), 0, /keyUsage lacks keyCertSign/],
    [other({ spki: spki(p384) }), child(), 0, /ecdsa sha256 by a key of kind p384/],
  ];
  for (const [issuer, subject, casBelow, why] of WRONG)
    it(`not: ${why.source}`, () => assert.match(issuerProblem(issuer, subject, { casBelow }) ?? "", why));
  it("not a CRL without cRLSign", () => {
    const issuer = other({ extensions: [constraints, flags(4)] });
    assert.match(issuerProblem(issuer, parseCrl(crl()), { casBelow: 0, crl: true }) ?? "", /lacks cRLSign/);
  });
  it("critical extensions that are not known are found", () => {
    assert.equal(unknownCritical(root), undefined);
    assert.equal(unknownCritical(other({ extensions: [der.extension("1.2.3", der.nul(), true)] })), "1.2.3");
  });

  const crypto = nodeCrypto();
  const signed: readonly (readonly [
    string,
    Uint8Array,
    Uint8Array,
    (tbs: Uint8Array) => Uint8Array,
    boolean,
  ])[] = [
    ["P-256", ECDSA_SHA256, spki(p256), (tbs) => sign("sha256", tbs, p256), true],
    ["P-384", ECDSA_SHA384, spki(p384), (tbs) => sign("sha384", tbs, p384), true],
    ["RSA PKCS#1", RSA_SHA256, spki(rsa), (tbs) => sign("sha256", tbs, rsa), true],
    ["Ed25519", ED25519, spki(ed25519), (tbs) => sign(null, tbs, ed25519), true],
    ["P-256 with SHA-384", ECDSA_SHA384, spki(p256), (tbs) => sign("sha384", tbs, p256), false],
    ["RSA with an ECDSA key", RSA_SHA256, spki(p256), (tbs) => sign("sha256", tbs, rsa), false],
    ["a signature that is no DER", ECDSA_SHA256, spki(p256), () => new Uint8Array(64), false],
    [
      "an unknown algorithm",
      der.sequence(der.oid("1.2.3")),
      spki(p256),
      (tbs) => sign("sha256", tbs, p256),
      false,
    ],
    [
      "an unknown key",
      ECDSA_SHA256,
      spki(generateKeyPairSync("x25519").privateKey),
      (tbs) => sign("sha256", tbs, p256),
      false,
    ],
  ];
  for (const [what, outer, key, signer, right] of signed)
    it(`${what} is ${right ? "right" : "wrong"}`, async () => {
      const subject = parseCertificate(certificate({ inner: outer, outer, sign: signer }));
      for (const implementation of [crypto, webCrypto()])
        assert.equal(await isSignedBy(implementation, subject, parsePublicKey(key)), right);
    });

  it("ECDSA signatures: one encoding, positive, not too long", () => {
    const one = Uint8Array.of(1);
    assert.deepEqual([...ecdsaToP1363(signatureOf(one, Uint8Array.of(0, 0x80)), 2)], [0, 1, 0, 0x80]);
    assert.throws(() => ecdsaToP1363(signatureOf(Uint8Array.of(0x80), one), 32), { code: "UNEXPECTED" });
    assert.throws(() => ecdsaToP1363(signatureOf(Uint8Array.of(0, 1), one), 32), { code: "ENCODING" });
    assert.throws(() => ecdsaToP1363(signatureOf(new Uint8Array(33).fill(1), one), 32), {
      code: "TOO_LARGE",
    });
    assert.throws(() => ecdsaToP1363(Buffer.concat([signatureOf(one, one), one]), 32), { code: "TRAILING" });
  });

  it("PSS with other parameters is not accepted", () => {
    const key = parsePublicKey(spki(rsa));
    const algorithm = { kind: "rsa-pss", hash: "sha384", mgfHash: "sha384", saltLength: 48 } as const;
    assert.equal(matchAlgorithm(algorithm, key), "rsa-pss-sha384");
    assert.equal(matchAlgorithm({ ...algorithm, saltLength: 32 }, key), undefined);
    assert.equal(matchAlgorithm({ ...algorithm, mgfHash: "sha256" }, key), undefined);
  });
});

function pss(parameters: readonly Uint8Array[]): Uint8Array {
  return der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence(...parameters));
}
