/**
 * Wraps the answer to an Unseal to the key inside the CVM: HPKE (RFC 9180, base mode) with X25519 + ML-KEM-768. The
 * request's report data is HPKE's info, so that what was wrapped for one request opens for no other.
 */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA512, KEM_MLKEM768_X25519, type Key } from "hpke";
import { SealetError } from "../error.ts";
import { UnsealSecrets } from "../api/gen/sealet.ts";

const suite = new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA512, AEAD_AES_256_GCM);

/** ML-KEM-768's 1184 bytes and X25519's 32. @see draft-ietf-hpke-pq §4 */
const KEM_PUBLIC_KEY_BYTES = 1216;

export interface Wrapped {
  readonly encapsulatedKey: Buffer;
  readonly sealedSecrets: Buffer;
}

/** A key pair for one request; the private key can't be exported. */
export interface KemKey {
  readonly publicKey: Buffer;
  readonly privateKey: Key;
}

export async function createKemKey(): Promise<KemKey> {
  const pair = await suite.GenerateKeyPair(false);
  return { publicKey: asBuffer(await suite.SerializePublicKey(pair.publicKey)), privateKey: pair.privateKey };
}

/** Checks the key, before anything is decided on it. @throws REQUEST_INVALID */
export async function readKemPublicKey(bytes: Uint8Array): Promise<Key> {
  if (bytes.length !== KEM_PUBLIC_KEY_BYTES)
    throw new SealetError("REQUEST_INVALID", "The KEM key has another length", {
      predicate: "kem_public_key",
      expected: `${KEM_PUBLIC_KEY_BYTES} bytes`,
      found: `${bytes.length} bytes`,
    });
  try {
    return await suite.DeserializePublicKey(bytes);
  } catch (cause) {
    throw new SealetError("REQUEST_INVALID", "The KEM key is no X25519 + ML-KEM-768 key", {
      cause,
      predicate: "kem_public_key",
    });
  }
}

/** @param secrets stays the caller's, who wipes it */
export async function wrap(publicKey: Key, reportData: Uint8Array, secrets: UnsealSecrets): Promise<Wrapped> {
  const plain = UnsealSecrets.encode(secrets).finish();
  try {
    const { encapsulatedSecret, ciphertext } = await suite.Seal(publicKey, plain, { info: reportData });
    return { encapsulatedKey: asBuffer(encapsulatedSecret), sealedSecrets: asBuffer(ciphertext) };
  } finally {
    plain.fill(0);
  }
}

/** @throws REQUEST_INVALID where the answer was not wrapped for this request */
export async function unwrap(key: KemKey, reportData: Uint8Array, wrapped: Wrapped): Promise<UnsealSecrets> {
  let plain: Uint8Array;
  try {
    plain = await suite.Open(key.privateKey, wrapped.encapsulatedKey, wrapped.sealedSecrets, {
      info: reportData,
    });
  } catch (cause) {
    throw new SealetError("REQUEST_INVALID", "The KMS's answer was not wrapped for this request", { cause });
  }
  try {
    return UnsealSecrets.decode(plain);
  } catch {
    // Without the cause: it may quote what it could not read.
    throw new SealetError("REQUEST_INVALID", "What the KMS wrapped are not the keys of this protocol");
  } finally {
    plain.fill(0);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
