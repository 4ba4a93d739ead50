/**
 * A TLS identity of node or KMS: a P-256 key with a self-signed certificate. Nobody believes the certificate's words;
 * the key is the identity, and who is behind it is what evidence (node) or initdata's pin (KMS) say. The private key
 * is never a string.
 */
import { X509Certificate, createHash, generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import { encodeName, issueCertificate } from "../crypto/certificate.ts";
import { pem } from "../crypto/pem.ts";
import { SealetError } from "../error.ts";

export interface TlsIdentity {
  /** PKCS#8 as PEM. Secret. */
  readonly privateKey: Buffer;
  /** PEM. */
  readonly certificate: Buffer;
}

/** The pin is what counts: an expiry date would only be an outage that waits to happen. */
const NOT_BEFORE = new Date("2020-01-01T00:00:00Z");
const NOT_AFTER = new Date("9999-12-31T23:59:59Z"); // RFC 5280 §4.1.2.5: no well-defined expiration date

/** @param commonName for people who look at the certificate */
export async function createIdentity(commonName: string): Promise<TlsIdentity> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const subject = { CN: commonName };
  const certificate = issueCertificate(
    {
      subject,
      spki: publicKey.export({ type: "spki", format: "der" }),
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      as: { kind: "self-signed" },
    },
    { name: encodeName(subject), key: privateKey },
  );
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  try {
    return { privateKey: pem("PRIVATE KEY", der), certificate: pem("CERTIFICATE", certificate) };
  } finally {
    der.fill(0);
  }
}

/** DER SubjectPublicKeyInfo of a certificate (PEM or DER). @throws CONFIG_INVALID */
export function spkiOf(certificate: Uint8Array): Buffer {
  try {
    return new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", "The certificate cannot be read", { cause });
  }
}

/** @returns 32 bytes: by this the KMS is pinned, and a lease's holder known */
export function spkiDigest(spki: Uint8Array): Buffer {
  return createHash("sha256").update(spki).digest();
}
