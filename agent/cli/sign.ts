/** The operator's key and what it signs: DSSE v1 envelopes (Ed25519). The only place where sealet signs a file. */
import { type KeyObject, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { preAuthEncoding } from "../attest/dsse.ts";
import { SealetError, reasonOf } from "../error.ts";
import { pem } from "../crypto/pem.ts";
import { sha256Hex } from "../kms/signed-file.ts";

export interface OperatorKey {
  readonly keyid: string;
  /** @returns the envelope as JSON */
  sign(payloadType: string, payload: Uint8Array): Buffer;
}

/** Makes both files; never replaces one. @returns the key's id @throws CONFIG_INVALID */
export function createOperatorKey(keyPath: string, publicPath: string): string {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  try {
    writeFileSync(keyPath, pem("PRIVATE KEY", der), { mode: 0o600, flag: "wx", flush: true });
    writeFileSync(publicPath, pem("PUBLIC KEY", spki), { mode: 0o644, flag: "wx", flush: true });
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", `The operator key cannot be written: ${reasonOf(cause)}`, {
      cause,
    });
  } finally {
    der.fill(0);
  }
  return sha256Hex(spki);
}

/** @throws CONFIG_INVALID */
export function openOperatorKey(path: string): OperatorKey {
  const key = readKey(path);
  if (key.asymmetricKeyType !== "ed25519")
    throw new SealetError("CONFIG_INVALID", `${path} is not an Ed25519 key`);
  const keyid = sha256Hex(createPublicKey(key).export({ type: "spki", format: "der" }));
  return {
    keyid,
    sign(payloadType, payload) {
      const sig = sign(null, preAuthEncoding(payloadType, payload), key).toString("base64");
      const envelope = {
        payloadType,
        payload: Buffer.from(payload).toString("base64"),
        signatures: [{ keyid, sig }],
      };
      return Buffer.from(JSON.stringify(envelope));
    },
  };
}

function readKey(path: string): KeyObject {
  let bytes: Buffer | undefined;
  try {
    bytes = readFileSync(path);
    return createPrivateKey(bytes);
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", `The operator key ${path} cannot be read: ${reasonOf(cause)}`, {
      cause,
    });
  } finally {
    bytes?.fill(0);
  }
}
