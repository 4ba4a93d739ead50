/**
 * `Crypto` on node:crypto. Signatures are verified on libuv's thread pool, so that the event loop stays free; digests of
 * evidence are too short for that to pay. Parsed keys are kept, bounded. Holds no secrets.
 */
import { createPublicKey, hash, verify, type KeyObject } from "node:crypto";
import type { Crypto, SignatureAlgorithm } from "../attest/crypto.ts";

interface Key {
  readonly object: KeyObject;
  readonly type: string | undefined;
  readonly curve: string | undefined;
}

interface Method {
  readonly hash: string | null;
  readonly keyType: string;
  readonly curve?: string;
  readonly options: { dsaEncoding?: "ieee-p1363"; padding?: number; saltLength?: number };
}

const RSA_PKCS1_PADDING = 1;
const RSA_PKCS1_PSS_PADDING = 6;

const METHOD: Readonly<Record<SignatureAlgorithm, Method>> = {
  "ecdsa-p256-sha256": {
    hash: "sha256",
    keyType: "ec",
    curve: "prime256v1",
    options: { dsaEncoding: "ieee-p1363" },
  },
  "ecdsa-p384-sha384": {
    hash: "sha384",
    keyType: "ec",
    curve: "secp384r1",
    options: { dsaEncoding: "ieee-p1363" },
  },
  "rsa-pss-sha384": {
    hash: "sha384",
    keyType: "rsa",
    options: { padding: RSA_PKCS1_PSS_PADDING, saltLength: 48 },
  },
  "rsa-pkcs1-sha256": { hash: "sha256", keyType: "rsa", options: { padding: RSA_PKCS1_PADDING } },
  ed25519: { hash: null, keyType: "ed25519", options: {} },
};

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
  const keys = new Map<string, Key>();

  function keyOf(spki: Uint8Array): Key | undefined {
    const bytes = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength);
    const name = bytes.toString("latin1");
    let key = keys.get(name);
    if (key === undefined) {
      try {
        const object = createPublicKey({ key: bytes, format: "der", type: "spki" });
        key = { object, type: object.asymmetricKeyType, curve: object.asymmetricKeyDetails?.namedCurve };
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
      const key = keyOf(spki);
      if (key?.type !== method.keyType || key.curve !== method.curve) return Promise.resolve(false);
      const options = { key: key.object, ...method.options };
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
