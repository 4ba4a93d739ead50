/**
 * X.509 certificates and CRLs (RFC 5280) as evidence and collateral use them, on the strict DER reader. Parsing decides
 * nothing about trust: signatures, dates and constraints are `chain.ts`'s.
 */
import { hex } from "./bytes.ts";
import { splitPem } from "./base64.ts";
import { Der, explicit, implicit, oidText, TAG } from "./der.ts";
import { Malformed } from "./malformed.ts";

const MAX_CERTIFICATE = 16 * 1024;
const MAX_CRL = 1024 * 1024;
const MAX_EXTENSIONS = 40;

export const OID = {
  commonName: "2.5.4.3",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  authorityKeyIdentifier: "2.5.29.35",
  subjectKeyIdentifier: "2.5.29.14",
  crlDistributionPoints: "2.5.29.31",
  crlNumber: "2.5.29.20",
} as const;

const SHA256 = "2.16.840.1.101.3.4.2.1";
const SHA384 = "2.16.840.1.101.3.4.2.2";
const SHA512 = "2.16.840.1.101.3.4.2.3";
const MGF1 = "1.2.840.113549.1.1.8";
const RSA_PSS = "1.2.840.113549.1.1.10";

/** The signature algorithm as the AlgorithmIdentifier says; for ECDSA the key decides the curve. */
export type CertificateSignature =
  | { readonly kind: "ecdsa"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "rsa-pkcs1"; readonly hash: "sha256" | "sha384" | "sha512" }
  | { readonly kind: "rsa-pss"; readonly hash: string; readonly mgfHash: string; readonly saltLength: number }
  | { readonly kind: "ed25519" }
  | { readonly kind: "other"; readonly oid: string };

export type PublicKey =
  | { readonly kind: "p256" | "p384"; readonly spki: Uint8Array; readonly point: Uint8Array }
  | { readonly kind: "rsa"; readonly spki: Uint8Array; readonly bits: number; readonly exponent: number }
  | { readonly kind: "ed25519"; readonly spki: Uint8Array }
  | { readonly kind: "other"; readonly spki: Uint8Array; readonly oid: string };

export interface Name {
  /** The DER of the whole Name: names are equal where these bytes are. */
  readonly der: Uint8Array;
  readonly attributes: readonly { readonly oid: string; readonly value: string }[];
}

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** Contents of extnValue's OCTET STRING. */
  readonly value: Uint8Array;
}

/** What a signature is over, and the signature: common to certificates and CRLs. */
export interface Signed {
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: CertificateSignature;
  readonly signature: Uint8Array;
  readonly issuer: Name;
}

export interface Certificate extends Signed {
  readonly der: Uint8Array;
  /** Contents of the INTEGER. */
  readonly serial: Uint8Array;
  readonly subject: Name;
  /** ms since 1970 */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: PublicKey;
  readonly extensions: ReadonlyMap<string, Extension>;
}

export interface CertificateList extends Signed {
  readonly der: Uint8Array;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly revoked: readonly { readonly serial: Uint8Array; readonly at: number }[];
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** @throws Malformed */
export function parseCertificate(der: Uint8Array, what = "certificate"): Certificate {
  if (der.length > MAX_CERTIFICATE)
    throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_CERTIFICATE} bytes`);
  const { tbs, body, signatureAlgorithm, signature } = signedEnvelope(der, what);
  const version = body.enter(explicit(0), "version");
  if (version.small("version") !== 2) body.fail("UNEXPECTED", "not an X.509 v3 certificate");
  version.close("version");
  const serial = body.integer("serialNumber");
  sameAlgorithm(body, signatureAlgorithm);
  const issuer = readName(body, "issuer");
  const validity = body.sequence("validity");
  const notBefore = validity.time("notBefore");
  const notAfter = validity.time("notAfter");
  validity.close("validity");
  const subject = readName(body, "subject");
  const publicKey = readPublicKey(body);
  const extensions = readExtensions(body, explicit(3));
  body.close("extensions");
  return {
    der,
    tbs,
    signatureAlgorithm,
    signature,
    serial,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    extensions,
  };
}

/** @throws Malformed; a CRL without nextUpdate too: it would never be stale */
export function parseCrl(der: Uint8Array, what = "CRL"): CertificateList {
  if (der.length > MAX_CRL) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_CRL} bytes`);
  const { tbs, body, signatureAlgorithm, signature } = signedEnvelope(der, what);
  if (body.small("version") !== 1) body.fail("UNEXPECTED", "not an X.509 v2 CRL");
  sameAlgorithm(body, signatureAlgorithm);
  const issuer = readName(body, "issuer");
  const thisUpdate = body.time("thisUpdate");
  const nextUpdate = body.time("nextUpdate");
  const revoked: { serial: Uint8Array; at: number }[] = [];
  if (body.peek() === TAG.sequence) {
    const entries = body.sequence("revokedCertificates");
    while (!entries.empty) {
      const entry = entries.sequence("revokedCertificate");
      const serial = entry.integer("userCertificate");
      const at = entry.time("revocationDate");
      // reasons don't matter: what is listed is revoked (removeFromCRL occurs in delta CRLs only, which are refused)
      if (!entry.empty) entry.raw(TAG.sequence, "crlEntryExtensions");
      entry.close("crlEntryExtensions");
      revoked.push({ serial, at });
    }
  }
  const extensions = readExtensions(body, explicit(0));
  body.close("crlExtensions");
  for (const { oid, critical } of extensions.values())
    if (critical) throw new Malformed("UNSUPPORTED", what, 0, `critical CRL extension ${oid}`);
  return { der, tbs, signatureAlgorithm, signature, issuer, thisUpdate, nextUpdate, revoked, extensions };
}

/** Certificates of a PEM text, in its order. @throws Malformed */
export function parsePemCertificates(text: string, what = "PEM"): Certificate[] {
  return splitPem(text, what).map(({ label, der }, i) => {
    if (label !== "CERTIFICATE") throw new Malformed("UNEXPECTED", what, 0, `PEM block "${label}"`);
    return parseCertificate(der, `${what} certificate ${i + 1}`);
  });
}

function signedEnvelope(
  der: Uint8Array,
  what: string,
): {
  tbs: Uint8Array;
  body: Der;
  signatureAlgorithm: CertificateSignature;
  signature: Uint8Array;
} {
  const outer = new Der(der, what);
  const whole = outer.sequence("signed object");
  outer.close("the signed object");
  const from = whole.offset;
  const body = whole.sequence("tbs");
  const tbs = der.subarray(from, whole.offset);
  const signatureAlgorithm = readSignatureAlgorithm(whole);
  const signature = whole.bitString("signatureValue");
  whole.close("signatureValue");
  return { tbs, body, signatureAlgorithm, signature };
}

/** The copy inside the signed part must say the same; decoded, for encodings of defaults differ in genuine ones. */
function sameAlgorithm(body: Der, outer: CertificateSignature): void {
  const inner = readSignatureAlgorithm(body);
  if (describeSignature(inner) !== describeSignature(outer))
    body.fail("UNEXPECTED", "signature algorithms inside and outside differ");
}

export function describeSignature(algorithm: CertificateSignature): string {
  switch (algorithm.kind) {
    case "ecdsa":
    case "rsa-pkcs1":
      return `${algorithm.kind} ${algorithm.hash}`;
    case "rsa-pss":
      return `rsa-pss ${algorithm.hash} mgf1-${algorithm.mgfHash} salt ${algorithm.saltLength}`;
    case "ed25519":
      return "ed25519";
    case "other":
      return `algorithm ${algorithm.oid}`;
    default:
      return algorithm satisfies never;
  }
}

const SIGNATURES: Readonly<Record<string, CertificateSignature>> = {
  "1.2.840.10045.4.3.2": { kind: "ecdsa", hash: "sha256" },
  "1.2.840.10045.4.3.3": { kind: "ecdsa", hash: "sha384" },
  "1.2.840.10045.4.3.4": { kind: "ecdsa", hash: "sha512" },
  "1.2.840.113549.1.1.11": { kind: "rsa-pkcs1", hash: "sha256" },
  "1.2.840.113549.1.1.12": { kind: "rsa-pkcs1", hash: "sha384" },
  "1.2.840.113549.1.1.13": { kind: "rsa-pkcs1", hash: "sha512" },
  "1.3.101.112": { kind: "ed25519" },
};

function readSignatureAlgorithm(from: Der): CertificateSignature {
  const identifier = from.sequence("signatureAlgorithm");
  const oid = identifier.oid("algorithm");
  if (oid === RSA_PSS) return readPss(identifier);
  const known = SIGNATURES[oid];
  if (known?.kind === "rsa-pkcs1") readNull(identifier);
  if (known === undefined) return { kind: "other", oid };
  identifier.close("algorithm");
  return known;
}

function readNull(from: Der): void {
  if (from.primitive(TAG.null, "parameters").length !== 0) from.fail("ENCODING", "NULL with contents");
}

/** RSASSA-PSS-params, RFC 4055 §3.1. Defaults are SHA-1's: they are decoded as such and refused by who verifies. */
function readPss(identifier: Der): CertificateSignature {
  const params = identifier.sequence("RSASSA-PSS parameters");
  identifier.close("RSASSA-PSS parameters");
  let hash = "sha1";
  let mgfHash = "sha1";
  let saltLength = 20;
  if (params.peek() === explicit(0)) {
    const field = params.enter(explicit(0), "hashAlgorithm");
    hash = readHash(field);
    field.close("hashAlgorithm");
  }
  if (params.peek() === explicit(1)) {
    const field = params.enter(explicit(1), "maskGenAlgorithm");
    const mgf = field.sequence("maskGenAlgorithm");
    if (mgf.oid("mask generation function") !== MGF1) mgf.fail("UNSUPPORTED", "mask generation is not MGF1");
    mgfHash = readHash(mgf);
    mgf.close("maskGenAlgorithm");
    field.close("maskGenAlgorithm");
  }
  if (params.peek() === explicit(2)) {
    const field = params.enter(explicit(2), "saltLength");
    saltLength = field.small("saltLength");
    field.close("saltLength");
  }
  if (params.peek() === explicit(3)) {
    const field = params.enter(explicit(3), "trailerField");
    if (field.small("trailerField") !== 1) field.fail("UNSUPPORTED", "trailerField is not 1");
    field.close("trailerField");
  }
  params.close("RSASSA-PSS parameters");
  return { kind: "rsa-pss", hash, mgfHash, saltLength };
}

function readHash(from: Der): string {
  const identifier = from.sequence("hash algorithm");
  const oid = identifier.oid("hash algorithm");
  if (!identifier.empty) readNull(identifier);
  identifier.close("hash algorithm");
  return { [SHA256]: "sha256", [SHA384]: "sha384", [SHA512]: "sha512" }[oid] ?? oid;
}

function readName(from: Der, field: string): Name {
  const start = from.offset;
  const rdns = from.sequence(field);
  const der = from.bytes.subarray(start, from.offset);
  const attributes: { oid: string; value: string }[] = [];
  while (!rdns.empty) {
    const set = rdns.enter(TAG.set, field);
    do {
      const attribute = set.sequence(field);
      const oid = attribute.oid(field);
      const tag = attribute.peek() ?? 0;
      attributes.push({ oid, value: printable(attribute.primitive(tag, field)) });
      attribute.close(field);
    } while (!set.empty);
  }
  return { der, attributes };
}

/** ASCII as it is; every other byte as \xNN, so that two names that look alike are alike. */
function printable(bytes: Uint8Array): string {
  let ascii = true;
  for (const byte of bytes) if (byte < 0x20 || byte > 0x7e) ascii = false;
  if (ascii && bytes.length <= 128) return String.fromCharCode(...bytes);
  let text = "";
  for (const byte of bytes)
    text +=
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  return text;
}

/** The common name, where there is exactly one. */
export function commonName(name: Name): string | undefined {
  const found = name.attributes.filter(({ oid }) => oid === OID.commonName);
  return found.length === 1 ? found[0]?.value : undefined;
}

const EC = "1.2.840.10045.2.1";
const RSA = "1.2.840.113549.1.1.1";
const ED25519 = "1.3.101.112";
const CURVES: Readonly<Record<string, { kind: "p256" | "p384"; point: number }>> = {
  "1.2.840.10045.3.1.7": { kind: "p256", point: 65 },
  "1.3.132.0.34": { kind: "p384", point: 97 },
};

function readPublicKey(from: Der): PublicKey {
  const start = from.offset;
  const info = from.sequence("subjectPublicKeyInfo");
  const spki = from.bytes.subarray(start, from.offset);
  const algorithm = info.sequence("algorithm");
  const oid = algorithm.oid("algorithm");
  const keyOffset = info.offset;
  const key = info.bitString("subjectPublicKey");
  info.close("subjectPublicKey");
  if (oid === EC) {
    const curve = CURVES[algorithm.oid("curve")];
    algorithm.close("curve");
    if (curve === undefined) return { kind: "other", spki, oid };
    if (key.length !== curve.point || key[0] !== 4)
      throw new Malformed("UNSUPPORTED", from.what, keyOffset, "public key is not an uncompressed point");
    return { kind: curve.kind, spki, point: key };
  }
  if (oid === RSA) {
    readNull(algorithm);
    algorithm.close("parameters");
    const outer = new Der(key, `${from.what} RSA key`);
    const numbers = outer.sequence("RSAPublicKey");
    outer.close("RSAPublicKey");
    const modulus = numbers.integer("modulus");
    const exponent = numbers.small("publicExponent");
    numbers.close("publicExponent");
    const [first = 0] = modulus;
    const bits = first === 0 ? 8 * (modulus.length - 1) : 8 * modulus.length - Math.clz32(first) + 24;
    return { kind: "rsa", spki, bits, exponent };
  }
  if (oid === ED25519) {
    algorithm.close("parameters");
    return { kind: "ed25519", spki };
  }
  return { kind: "other", spki, oid };
}

/** A public key that stands alone, as DER SubjectPublicKeyInfo. @throws Malformed */
export function parsePublicKey(spki: Uint8Array, what = "public key"): PublicKey {
  const reader = new Der(spki, what);
  const key = readPublicKey(reader);
  reader.close("public key");
  return key;
}

function readExtensions(from: Der, tag: number): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (from.empty) return extensions;
  const field = from.enter(tag, "extensions");
  const list = field.sequence("extensions");
  field.close("extensions");
  while (!list.empty) {
    const at = list.offset;
    const entry = list.sequence("extension");
    const oid = oidText(entry.primitive(TAG.oid, "extnID"), from.what, at);
    const explicitCritical = entry.peek() === TAG.boolean;
    const critical = explicitCritical && entry.boolean("critical");
    if (explicitCritical && !critical) entry.fail("ENCODING", "a default is encoded");
    const value = entry.primitive(TAG.octetString, "extnValue");
    entry.close("extnValue");
    if (extensions.has(oid)) throw new Malformed("DUPLICATE", from.what, at, `extension ${oid} twice`);
    if (extensions.size === MAX_EXTENSIONS)
      throw new Malformed("TOO_LARGE", from.what, at, `over ${MAX_EXTENSIONS} extensions`);
    extensions.set(oid, { oid, critical, value });
  }
  return extensions;
}

export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

/** @throws Malformed */
export function basicConstraints(certificate: Certificate): BasicConstraints | undefined {
  const extension = certificate.extensions.get(OID.basicConstraints);
  if (extension === undefined) return undefined;
  const outer = new Der(extension.value, "basicConstraints");
  const inner = outer.sequence("basicConstraints");
  outer.close("basicConstraints");
  const ca = inner.peek() === TAG.boolean && inner.boolean("cA");
  const pathLength = inner.empty ? undefined : inner.small("pathLenConstraint");
  inner.close("pathLenConstraint");
  return { ca, pathLength };
}

export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

/** @returns a test for a bit, or undefined where the extension is absent. @throws Malformed */
export function keyUsage(certificate: Certificate): ((bit: number) => boolean) | undefined {
  const extension = certificate.extensions.get(OID.keyUsage);
  if (extension === undefined) return undefined;
  const outer = new Der(extension.value, "keyUsage");
  const bits = outer.namedBits("keyUsage");
  outer.close("keyUsage");
  return bits;
}

/** URI of each CRL distribution point that is a plain URI; for people and collateral clients, never for trust. */
export function crlUris(certificate: Certificate): string[] {
  const extension = certificate.extensions.get(OID.crlDistributionPoints);
  if (extension === undefined) return [];
  const outer = new Der(extension.value, "cRLDistributionPoints");
  const points = outer.sequence("cRLDistributionPoints");
  const uris: string[] = [];
  while (!points.empty) {
    const point = points.sequence("DistributionPoint");
    if (point.peek() !== explicit(0)) continue;
    const name = point.enter(explicit(0), "distributionPoint");
    if (name.peek() !== explicit(0)) continue;
    const full = name.enter(explicit(0), "fullName");
    while (!full.empty) {
      const tag = full.peek() ?? 0;
      const value = full.primitive(tag, "GeneralName");
      if (tag === implicit(6)) uris.push(printable(value));
    }
  }
  return uris;
}

/** Serial numbers as text, for messages. */
export function serialText(serial: Uint8Array): string {
  return hex(serial);
}
