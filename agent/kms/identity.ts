/**
 * A TLS identity of node or KMS: a P-256 key with a self-signed certificate. Nobody believes the certificate's words;
 * the key is the identity, and who is behind it is what evidence (node) or initdata's pin (KMS) say. The private key
 * is never a string.
 */
import { KeyObject, X509Certificate, createHash, randomBytes, webcrypto } from "node:crypto";
import { BasicConstraintsExtension, X509CertificateGenerator } from "@peculiar/x509";
import { SealetError } from "../error.ts";

export interface TlsIdentity {
  /** PKCS#8 as PEM. Secret. */
  readonly privateKey: Buffer;
  /** PEM. */
  readonly certificate: Buffer;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** The pin is what counts: an expiry date would only be an outage that waits to happen. */
const NOT_BEFORE = new Date("2020-01-01T00:00:00Z");
const NOT_AFTER = new Date("9999-12-31T23:59:59Z"); // RFC 5280 §4.1.2.5: no well-defined expiration date

/** @param commonName for people who look at the certificate */
export async function createIdentity(commonName: string): Promise<TlsIdentity> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    signingAlgorithm: ALGORITHM,
    name: [{ CN: [commonName] }],
    serialNumber: randomBytes(16).toString("hex"),
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    extensions: [new BasicConstraintsExtension(false, undefined, true)],
  });
  const der = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "der" });
  try {
    return {
      privateKey: pem("PRIVATE KEY", der),
      certificate: pem("CERTIFICATE", Buffer.from(certificate.rawData)),
    };
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

const BASE64 = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "latin1");
const PAD = "=".charCodeAt(0);
const NEWLINE = "\n".charCodeAt(0);

/** PEM (RFC 7468) without a string between, so that a private key can be wiped. */
export function pem(label: string, der: Uint8Array): Buffer {
  const head = Buffer.from(`-----BEGIN ${label}-----\n`);
  const tail = Buffer.from(`-----END ${label}-----\n`);
  const digits = Math.ceil(der.length / 3) * 4;
  const out = Buffer.alloc(head.length + digits + Math.ceil(digits / 64) + tail.length);
  let at = head.copy(out);
  const put = (value: number | undefined) => {
    out[at++] = value ?? PAD;
  };
  for (let i = 0; i < der.length; i += 3) {
    const [a = 0, b, c] = [der[i], der[i + 1], der[i + 2]];
    put(BASE64[a >> 2]);
    put(BASE64[((a & 3) << 4) | ((b ?? 0) >> 4)]);
    put(b === undefined ? PAD : BASE64[((b & 15) << 2) | ((c ?? 0) >> 6)]);
    put(c === undefined ? PAD : BASE64[c & 63]);
    if ((i / 3) % 16 === 15 || i + 3 >= der.length) put(NEWLINE);
  }
  at += tail.copy(out, at);
  return out.subarray(0, at);
}
