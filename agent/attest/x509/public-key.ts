/** SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) of the kinds of keys that are verified with here; others are named. */
import { concat, fromHex } from "../bytes.ts";
import { Der } from "../der.ts";
import { Malformed } from "../malformed.ts";
import { readNull } from "./algorithm.ts";

export type PublicKey =
  | { readonly kind: "p256" | "p384"; readonly spki: Uint8Array; readonly point: Uint8Array }
  | { readonly kind: "rsa"; readonly spki: Uint8Array; readonly bits: number; readonly exponent: number }
  | { readonly kind: "ed25519"; readonly spki: Uint8Array }
  | { readonly kind: "other"; readonly spki: Uint8Array; readonly oid: string };

const EC = "1.2.840.10045.2.1";
const RSA = "1.2.840.113549.1.1.1";
const ED25519 = "1.3.101.112";
const CURVES: Readonly<Record<string, { kind: "p256" | "p384"; point: number }>> = {
  "1.2.840.10045.3.1.7": { kind: "p256", point: 65 },
  "1.3.132.0.34": { kind: "p384", point: 97 },
};

export function readPublicKey(from: Der): PublicKey {
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

/** SubjectPublicKeyInfo up to the coordinates of an uncompressed P-256 point (RFC 5480 §2). */
const P256_PREFIX = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

/** @param coordinates x and y, 64 bytes */
export function p256Spki(coordinates: Uint8Array): Uint8Array {
  return concat(P256_PREFIX, coordinates);
}
