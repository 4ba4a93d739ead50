/**
 * Makes X.509 certificates (RFC 5280) and requests for them (PKCS#10, RFC 2986). Only what sealet itself issues or asks
 * for: names of O and CN, one key usage each, signed by P-256, P-384 or RSA.
 */
import { type KeyObject, createHash, createPublicKey, randomBytes, sign } from "node:crypto";
import { SealetError } from "../error.ts";
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  set,
  time,
  tlv,
  utf8String,
} from "./der.ts";
import { ipBytes } from "./ip-address.ts";

export interface Subject {
  readonly O?: string;
  readonly CN: string;
}

export interface AltNames {
  readonly dns: readonly string[];
  readonly ip: readonly string[];
}

const OID = {
  organization: "2.5.4.10",
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  extensionRequest: "1.2.840.113549.1.9.14",
} as const;

/** Extended key usage (RFC 5280 §4.2.1.12). */
const USAGE = {
  ca: [],
  "self-signed": [],
  client: ["1.3.6.1.5.5.7.3.2"],
  serving: ["1.3.6.1.5.5.7.3.1"],
} as const satisfies Record<CertificateKind["kind"], readonly string[]>;

/** RFC 5758 §3.2, RFC 4055 §5 */
const SIGNATURE = {
  prime256v1: { hash: "sha256", algorithm: sequence(oid("1.2.840.10045.4.3.2")) },
  secp384r1: { hash: "sha384", algorithm: sequence(oid("1.2.840.10045.4.3.3")) },
  rsa: { hash: "sha256", algorithm: sequence(oid("1.2.840.113549.1.1.11"), tlv(0x05)) },
} as const;

export type CertificateKind =
  | { readonly kind: "ca" }
  // Its key is the identity; nobody reads the rest.
  | { readonly kind: "self-signed" }
  | { readonly kind: "client" }
  | { readonly kind: "serving"; readonly names: AltNames };

export interface CertificateFields {
  readonly subject: Subject;
  /** DER of the subject's public key (SubjectPublicKeyInfo). */
  readonly spki: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly as: CertificateKind;
}

export interface Issuer {
  /** DER Name, as it stands in the issuer's certificate. */
  readonly name: Uint8Array;
  readonly key: KeyObject;
  /** SubjectKeyIdentifier of its certificate, whoever made that; without it, what a certificate of ours has. */
  readonly keyIdentifier?: Uint8Array | undefined;
}

/** @returns DER */
export function issueCertificate(fields: CertificateFields, issuer: Issuer): Buffer {
  const { hash, algorithm } = signatureOf(issuer.key);
  const issuerSpki = createPublicKey(issuer.key).export({ type: "spki", format: "der" });
  const authority = issuer.keyIdentifier ?? keyIdentifier(issuerSpki);
  const tbs = sequence(
    explicit(0, integer(Uint8Array.of(2))), // version 3
    integer(serialNumber()),
    algorithm,
    issuer.name,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    encodeName(fields.subject),
    fields.spki,
    explicit(3, sequence(...extensionsOf(fields, authority))),
  );
  return sequence(tbs, algorithm, bitString(sign(hash, tbs, issuer.key)));
}

/** @returns DER, signed by the key that a certificate is asked for */
export function certificateRequest(subject: Subject, names: AltNames | undefined, key: KeyObject): Buffer {
  const { hash, algorithm } = signatureOf(key);
  const extensions = names === undefined ? [] : [altNames(names)];
  const attributes =
    extensions.length === 0 ? [] : [sequence(oid(OID.extensionRequest), set(sequence(...extensions)))];
  const info = sequence(
    integer(Uint8Array.of(0)),
    encodeName(subject),
    createPublicKey(key).export({ type: "spki", format: "der" }),
    explicit(0, ...attributes),
  );
  return sequence(info, algorithm, bitString(sign(hash, info, key)));
}

/** @returns DER */
export function encodeName({ O, CN }: Subject): Buffer {
  const organization = O === undefined ? [] : [attribute(OID.organization, O)];
  return sequence(...organization, attribute(OID.commonName, CN));
}

function attribute(id: string, value: string): Buffer {
  return set(sequence(oid(id), utf8String(value)));
}

function signatureOf(key: KeyObject): (typeof SIGNATURE)[keyof typeof SIGNATURE] {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === "prime256v1" || curve === "secp384r1") return SIGNATURE[curve];
  if (key.asymmetricKeyType === "rsa") return SIGNATURE.rsa;
  throw new SealetError("CONFIG_INVALID", "The signing key is of another kind", {
    expected: "P-256, P-384 or RSA",
    found: curve ?? key.asymmetricKeyType ?? "unknown",
  });
}

/** 127 bits, positive (RFC 5280 §4.1.2.2). */
function serialNumber(): Buffer {
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  return serial;
}

function extensionsOf({ spki, as }: CertificateFields, authority: Uint8Array): Buffer[] {
  const ca = as.kind === "ca";
  return [
    extension(OID.basicConstraints, sequence(...(ca ? [boolean(true)] : [])), true),
    // keyCertSign and cRLSign; digitalSignature (RFC 5280 §4.2.1.3)
    extension(OID.keyUsage, ca ? bitString(Uint8Array.of(0x06), 1) : bitString(Uint8Array.of(0x80), 7), true),
    extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(spki))),
    extension(OID.authorityKeyIdentifier, sequence(implicit(0, authority))),
    ...USAGE[as.kind].map((usage) => extension(OID.extendedKeyUsage, sequence(oid(usage)))),
    ...(as.kind === "serving" ? [altNames(as.names)] : []),
  ];
}

/** RFC 7093 §2, method 1: 160 bits of SHA-256 over the key's bits would do; any value that is the key's own does. */
function keyIdentifier(spki: Uint8Array): Buffer {
  return createHash("sha256").update(spki).digest().subarray(0, 20);
}

function extension(id: string, value: Uint8Array, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value));
}

/** RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7] */
function altNames({ dns, ip }: AltNames): Buffer {
  const names = [
    ...dns.map((name) => implicit(2, Buffer.from(name))),
    ...ip.map((address) => implicit(7, ipBytes(address) ?? notAnAddress(address))),
  ];
  return extension(OID.subjectAltName, sequence(...names));
}

function notAnAddress(address: string): never {
  throw new SealetError("INTERNAL", `${address} is no IP address`);
}
