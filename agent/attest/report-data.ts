/**
 * What a node puts into the report data of its evidence, computed alike by node and KMS: it binds the evidence to one
 * request, one challenge and one TLS channel (invariant I1), so that another CVM's evidence can't be relayed.
 */
import { concat } from "./bytes.ts";
import type { Crypto } from "./crypto.ts";

export type Purpose = "unseal" | "renew";

const LABEL = { unseal: "sealet/v1/unseal", renew: "sealet/v1/renew" } as const satisfies Record<
  Purpose,
  string
>;

export interface Binding {
  readonly purpose: Purpose;
  /** The KMS's challenge, 32 bytes. */
  readonly nonce: Uint8Array;
  /** DER SubjectPublicKeyInfo of the KMS's TLS certificate. */
  readonly kmsSpki: Uint8Array;
  /** DER SubjectPublicKeyInfo of the node's TLS certificate. */
  readonly nodeSpki: Uint8Array;
  /** HPKE public key that the answer is to be wrapped to; empty for `renew`. */
  readonly kemPublicKey: Uint8Array;
  /** The request as it goes over the wire. */
  readonly body: Uint8Array;
}

/** Each part after its length (u32, big-endian): no two lists of parts frame to the same bytes. */
export function frame(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const framed = parts.flatMap((part) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, part.length, false);
    return [length, part];
  });
  return concat(...framed);
}

/** @returns 64 bytes: SHA-512 of the framed label, nonce, KMS key, node key, KEM key, SHA-512 of the body */
export async function reportData(crypto: Crypto, binding: Binding): Promise<Uint8Array> {
  const { purpose, nonce, kmsSpki, nodeSpki, kemPublicKey, body } = binding;
  const label = new TextEncoder().encode(LABEL[purpose]);
  const digest = await crypto.digest("sha512", body);
  return crypto.digest("sha512", frame(label, nonce, kmsSpki, nodeSpki, kemPublicKey, digest));
}

/**
 * For evidence that somebody asks of the node: its label keeps the caller from choosing report data of an Unseal.
 * @param nonce the caller's, any length
 * @returns 64 bytes: SHA-512 of the framed label and nonce
 */
export function evidenceReportData(crypto: Crypto, nonce: Uint8Array): Promise<Uint8Array> {
  return crypto.digest("sha512", frame(new TextEncoder().encode("sealet/v1/evidence"), nonce));
}
