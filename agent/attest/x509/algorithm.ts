/** Signature algorithms as certificates and CRLs name them (RFC 5280 §4.1.1.2, RFC 4055). Judges none of them. */
import { type Der, explicit, TAG } from "../der.ts";

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

export function readSignatureAlgorithm(from: Der): CertificateSignature {
  const identifier = from.sequence("signatureAlgorithm");
  const oid = identifier.oid("algorithm");
  if (oid === RSA_PSS) return readPss(identifier);
  const known = SIGNATURES[oid];
  if (known?.kind === "rsa-pkcs1") readNull(identifier);
  if (known === undefined) return { kind: "other", oid };
  identifier.close("algorithm");
  return known;
}

/** The NULL that RSA's identifiers have for parameters. */
export function readNull(from: Der): void {
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
