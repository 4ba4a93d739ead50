/** `Crypto` on WebCrypto: for browsers and any runtime that has it. Keeps imported keys, bounded. */
import type { Crypto, DigestAlgorithm, SignatureAlgorithm } from "./crypto.ts";

type Imported = Awaited<ReturnType<SubtleCrypto["importKey"]>>;
type SubtleCrypto = typeof globalThis.crypto.subtle;
type ImportParams = Parameters<SubtleCrypto["importKey"]>[2];
type VerifyParams = Parameters<SubtleCrypto["verify"]>[0];

const DIGEST = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" } as const satisfies Record<
  DigestAlgorithm,
  string
>;

const ALGORITHM = {
  "ecdsa-p256-sha256": {
    key: { name: "ECDSA", namedCurve: "P-256" },
    verify: { name: "ECDSA", hash: "SHA-256" },
  },
  "ecdsa-p384-sha384": {
    key: { name: "ECDSA", namedCurve: "P-384" },
    verify: { name: "ECDSA", hash: "SHA-384" },
  },
  "rsa-pss-sha384": {
    key: { name: "RSA-PSS", hash: "SHA-384" },
    verify: { name: "RSA-PSS", saltLength: 48 },
  },
  "rsa-pkcs1-sha256": {
    key: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
    verify: { name: "RSASSA-PKCS1-v1_5" },
  },
  ed25519: { key: { name: "Ed25519" }, verify: { name: "Ed25519" } },
} as const satisfies Record<SignatureAlgorithm, { key: ImportParams; verify: VerifyParams }>;

const MAX_KEYS = 256;

/** WebCrypto takes no view on shared memory: this copies such a view only. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, byteLength)
    : new Uint8Array(bytes);
}

export function webCrypto(subtle: SubtleCrypto = globalThis.crypto.subtle): Crypto {
  const keys = new Map<string, Imported>();

  async function imported(algorithm: SignatureAlgorithm, spki: Uint8Array): Promise<Imported> {
    const name = `${algorithm} ${String.fromCharCode(...spki)}`;
    const known = keys.get(name);
    if (known !== undefined) return known;
    const key = await subtle.importKey("spki", plain(spki), ALGORITHM[algorithm].key, false, ["verify"]);
    if (keys.size >= MAX_KEYS) {
      const [oldest] = keys.keys();
      if (oldest !== undefined) keys.delete(oldest);
    }
    keys.set(name, key);
    return key;
  }

  return {
    async digest(algorithm, data) {
      return new Uint8Array(await subtle.digest(DIGEST[algorithm], plain(data)));
    },
    async verify(algorithm, spki, signature, data) {
      try {
        const key = await imported(algorithm, spki);
        return await subtle.verify(ALGORITHM[algorithm].verify, key, plain(signature), plain(data));
      } catch {
        return false; // a key that does not import, or is of another kind
      }
    },
  };
}
