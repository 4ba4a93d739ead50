/** The envelope that certificates and CRLs have in common (RFC 5280 §4.1.1, §5.1.1). */
import { Der } from "../der.ts";
import { describeSignature, readSignatureAlgorithm, type CertificateSignature } from "./algorithm.ts";
import type { Name } from "./name.ts";

/** What a signature is over, and the signature: common to certificates and CRLs. */
export interface Signed {
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: CertificateSignature;
  readonly signature: Uint8Array;
  readonly issuer: Name;
}

/** Opens what is common to certificates and CRLs. @throws Malformed */
export function signedEnvelope(
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
export function sameAlgorithm(body: Der, outer: CertificateSignature): void {
  const inner = readSignatureAlgorithm(body);
  // one object where the identifier has no parameters that differ
  if (inner !== outer && describeSignature(inner) !== describeSignature(outer))
    body.fail("UNEXPECTED", "signature algorithms inside and outside differ");
}
