/**
 * What the verifier needs of cryptography. Two implementations: node:crypto on its thread pool (`agent/crypto/node.ts`)
 * and WebCrypto (`webcrypto.ts`), with the same answers.
 */

export type DigestAlgorithm = "sha256" | "sha384" | "sha512";

/** The closed set of signatures that evidence, collateral and signed files carry. */
export type SignatureAlgorithm =
  | "ecdsa-p256-sha256" // signature in IEEE P1363 form, 64 bytes
  | "ecdsa-p384-sha384" // IEEE P1363, 96 bytes
  | "rsa-pss-sha384" // salt of 48 bytes, MGF1 with SHA-384
  | "rsa-pkcs1-sha256"
  | "ed25519";

export interface Crypto {
  digest(algorithm: DigestAlgorithm, data: Uint8Array): Promise<Uint8Array>;
  /**
   * @param spki the public key as DER SubjectPublicKeyInfo
   * @returns whether the signature is right; false also for a key that is not of the algorithm's kind
   */
  verify(
    algorithm: SignatureAlgorithm,
    spki: Uint8Array,
    signature: Uint8Array,
    data: Uint8Array,
  ): Promise<boolean>;
}
