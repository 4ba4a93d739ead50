/**
 * `Crypto` on node:crypto. Signatures are verified on libuv's thread pool, so that the event loop stays free; digests of
 * evidence are too short for that to pay. Parsed keys are kept, bounded. Holds no secrets.
 */
import { createPublicKey, hash, verify, type KeyObject } from "node:crypto";
import type { Crypto, SignatureAlgorithm } from "../attest/crypto.ts";

interface Method {
  readonly hash: string | null;
  /** How the key's SubjectPublicKeyInfo goes on after its own header: to ask OpenSSL for a key's kind is dear. */
  readonly algorithm: Buffer;
  readonly options: { dsaEncoding?: "ieee-p1363"; padding?: number; saltLength?: number };
}

const RSA_PKCS1_PADDING = 1;
const RSA_PKCS1_PSS_PADDING = 6;

/** AlgorithmIdentifiers, DER: RFC 5480 §2.1.1, RFC 3279 §2.3.1, RFC 8410 §3. */
const P256 = Buffer.from("301306072a8648ce3d020106082a8648ce3d030107", "hex");
const P384 = Buffer.from("301006072a8648ce3d020106052b81040022", "hex");
const RSA = Buffer.from("300d06092a864886f70d0101010500", "hex");
const ED25519 = Buffer.from("300506032b6570", "hex");

const METHOD: Readonly<Record<SignatureAlgorithm, Method>> = {
  "ecdsa-p256-sha256": { hash: "sha256", algorithm: P256, options: { dsaEncoding: "ieee-p1363" } },
  "ecdsa-p384-sha384": { hash: "sha384", algorithm: P384, options: { dsaEncoding: "ieee-p1363" } },
  "rsa-pss-sha384": {
    hash: "sha384",
    algorithm: RSA,
    options: { padding: RSA_PKCS1_PSS_PADDING, saltLength: 48 },
  },
  "rsa-pkcs1-sha256": { hash: "sha256", algorithm: RSA, options: { padding: RSA_PKCS1_PADDING } },
  ed25519: { hash: null, algorithm: ED25519, options: {} },
};

/** Whether a SubjectPublicKeyInfo is of that algorithm. Its first length is checked by who parses it. */
function isOf(spki: Buffer, algorithm: Buffer): boolean {
  const first = spki[1] ?? 0;
  const at = first < 0x80 ? 2 : 2 + (first & 0x7f);
  return spki.subarray(at, at + algorithm.length).equals(algorithm);
}

export interface NodeCryptoOptions {
  /** How many parsed keys are kept. */
  readonly maxKeys?: number;
  /**
   * Verify on the caller's thread: for a command, or a worker thread of its own, where nobody waits for the event loop. It
   * saves the way to the pool and back, which for P-256 costs about as much as the verification.
   */
  readonly onThisThread?: boolean;
}

export function nodeCrypto({ maxKeys = 1024, onThisThread = false }: NodeCryptoOptions = {}): Crypto {
  // least recently used first
  const keys = new Map<string, KeyObject>();

  function keyOf(spki: Buffer): KeyObject | undefined {
    const name = spki.toString("latin1");
    let key = keys.get(name);
    if (key === undefined) {
      try {
        key = createPublicKey({ key: spki, format: "der", type: "spki" });
      } catch {
        return undefined;
      }
      if (keys.size >= maxKeys) {
        const [oldest] = keys.keys();
        if (oldest !== undefined) keys.delete(oldest);
      }
    } else keys.delete(name);
    keys.set(name, key);
    return key;
  }

  return {
    async digest(algorithm, data) {
      return hash(algorithm, data, "buffer");
    },

    verify(algorithm, spki, signature, data) {
      const method = METHOD[algorithm];
      const info = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength);
      const key = isOf(info, method.algorithm) ? keyOf(info) : undefined;
      if (key === undefined) return Promise.resolve(false);
      const options = { key, ...method.options };
      if (onThisThread) {
        try {
          return Promise.resolve(verify(method.hash, data, options, signature));
        } catch {
          return Promise.resolve(false);
        }
      }
      return new Promise((resolve) => {
        // an error here is a signature of a wrong length and the like: not right
        verify(method.hash, data, options, signature, (error, right) => {
          resolve(error === null && right);
        });
      });
    },
  };
}
