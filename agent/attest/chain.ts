/**
 * Whether one certificate or CRL is signed by another's key, and whether an issuer may issue. There is no path building:
 * who calls knows the exact chain, and pins its root by digest.
 */
import { equalBytes } from "./bytes.ts";
import type { Crypto, SignatureAlgorithm } from "./crypto.ts";
import { Der } from "./der.ts";
import { attempt } from "./malformed.ts";
import {
  basicConstraints,
  describeSignature,
  KEY_USAGE,
  keyUsage,
  OID,
  type Certificate,
  type CertificateList,
  type CertificateSignature,
  type PublicKey,
  type Signed,
} from "./x509.ts";

const COORDINATE = { p256: 32, p384: 48 } as const;

/** The algorithm by which `key` verifies a signature that says `algorithm`; undefined where that is not in our set. */
export function matchAlgorithm(
  algorithm: CertificateSignature,
  key: PublicKey,
): SignatureAlgorithm | undefined {
  if (algorithm.kind === "ecdsa" && key.kind === "p256" && algorithm.hash === "sha256")
    return "ecdsa-p256-sha256";
  if (algorithm.kind === "ecdsa" && key.kind === "p384" && algorithm.hash === "sha384")
    return "ecdsa-p384-sha384";
  if (algorithm.kind === "rsa-pss" && key.kind === "rsa") {
    const { hash, mgfHash, saltLength } = algorithm;
    return hash === "sha384" && mgfHash === "sha384" && saltLength === 48 ? "rsa-pss-sha384" : undefined;
  }
  if (algorithm.kind === "rsa-pkcs1" && key.kind === "rsa" && algorithm.hash === "sha256")
    return "rsa-pkcs1-sha256";
  if (algorithm.kind === "ed25519" && key.kind === "ed25519") return "ed25519";
  return undefined;
}

/** ECDSA-Sig-Value (DER) to IEEE P1363. @throws Malformed */
export function ecdsaToP1363(signature: Uint8Array, coordinate: number): Uint8Array {
  const outer = new Der(signature, "ECDSA signature");
  const pair = outer.sequence("ECDSA-Sig-Value");
  outer.close("ECDSA-Sig-Value");
  const raw = new Uint8Array(2 * coordinate);
  for (const [i, name] of ["r", "s"].entries()) {
    const value = pair.integer(name);
    if ((value[0] ?? 0) >= 0x80) pair.fail("UNEXPECTED", `${name} is negative`);
    const digits = value[0] === 0 ? value.subarray(1) : value;
    if (digits.length > coordinate) pair.fail("TOO_LARGE", `${name} is longer than the curve's order`);
    raw.set(digits, (i + 1) * coordinate - digits.length);
  }
  pair.close("s");
  return raw;
}

/** Whether `key` signed `signed`. False for every kind of wrong signature, also for one that does not parse. */
export async function isSignedBy(crypto: Crypto, signed: Signed, key: PublicKey): Promise<boolean> {
  const algorithm = matchAlgorithm(signed.signatureAlgorithm, key);
  if (algorithm === undefined) return false;
  let { signature } = signed;
  if (key.kind === "p256" || key.kind === "p384") {
    const raw = attempt(() => ecdsaToP1363(signed.signature, COORDINATE[key.kind]));
    if (!raw.ok) return false;
    signature = raw.value;
  }
  return crypto.verify(algorithm, key.spki, signature, signed.tbs);
}

/** Extensions whose meaning is honoured here; another one that is critical is refused (RFC 5280 §4.2). */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.authorityKeyIdentifier,
  OID.subjectKeyIdentifier,
  OID.crlDistributionPoints,
]);

interface Authority {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
  readonly certificates: boolean;
  readonly crls: boolean;
}

const AUTHORITY = new WeakMap<Certificate, Authority>();

/** What the certificate's extensions allow it to issue; read once for each certificate object. */
function authorityOf(certificate: Certificate): Authority {
  const known = AUTHORITY.get(certificate);
  if (known !== undefined) return known;
  const constraints = attempt(() => basicConstraints(certificate));
  const usage = attempt(() => keyUsage(certificate));
  const may = (bit: number): boolean => usage.ok && usage.value?.(bit) === true;
  const authority = {
    ca: constraints.ok && constraints.value?.ca === true,
    pathLength: constraints.ok ? constraints.value?.pathLength : undefined,
    certificates: may(KEY_USAGE.keyCertSign),
    crls: may(KEY_USAGE.crlSign),
  };
  AUTHORITY.set(certificate, authority);
  return authority;
}

/** Why `issuer` may not have issued `subject` (signature and dates apart), or undefined. */
export function issuerProblem(
  issuer: Certificate,
  subject: Signed,
  options: {
    /** Certificates below the issuer in the chain that are CAs themselves. */
    readonly casBelow: number;
    readonly crl?: boolean;
  },
): string | undefined {
  if (!equalBytes(issuer.subject.der, subject.issuer.der)) return "issuer's name differs";
  const { ca, pathLength, certificates, crls } = authorityOf(issuer);
  if (!ca) return "issuer is no CA (basicConstraints)";
  if (pathLength !== undefined && options.casBelow > pathLength)
    return `issuer's pathLenConstraint is ${pathLength}`;
  if (options.crl === true ? !crls : !certificates)
    return `issuer's keyUsage lacks ${options.crl === true ? "cRLSign" : "keyCertSign"}`;
  if (matchAlgorithm(subject.signatureAlgorithm, issuer.publicKey) === undefined)
    return `${describeSignature(subject.signatureAlgorithm)} by a key of kind ${issuer.publicKey.kind} is not accepted`;
  return undefined;
}

/** An unknown critical extension, or undefined. */
export function unknownCritical(
  certificate: Certificate,
  understood: ReadonlySet<string> = UNDERSTOOD,
): string | undefined {
  for (const { oid, critical } of certificate.extensions.values())
    if (critical && !understood.has(oid)) return oid;
  return undefined;
}

/** @param at ms since 1970 */
export function isValidAt(certificate: Certificate, at: number): boolean {
  return certificate.notBefore <= at && at <= certificate.notAfter;
}

export function isCurrent(crl: CertificateList, at: number): boolean {
  return crl.thisUpdate <= at && at < crl.nextUpdate;
}

export function isRevoked(crl: CertificateList, serial: Uint8Array): boolean {
  return crl.revoked.has(serial);
}

export function validityText({ notBefore, notAfter }: Certificate): string {
  return `${timeText(notBefore)} to ${timeText(notAfter)}`;
}

/** @param at ms since 1970 */
export function timeText(at: number): string {
  return Number.isFinite(at) && Math.abs(at) <= 8.64e15
    ? new Date(at).toISOString().replace(".000Z", "Z")
    : String(at);
}
