/** Files that an operator signed: only keys that the KMS was given at its set-up count. */
import { createHash } from "node:crypto";
import { POLICY_PAYLOAD_TYPE } from "../attest/policy.ts";
import { openEnvelope } from "../attest/dsse.ts";
import { ENROLMENT_TYPE, type Enrolment, MAX_ENROLMENT_BYTES, parseEnrolment } from "../config/enrolment.ts";
import { nodeCrypto } from "../crypto/node.ts";
import { SealetError } from "../error.ts";

/** base64 and signatures around the payload. */
const MAX_ENROLMENT_ENVELOPE = 2 * MAX_ENROLMENT_BYTES;
const MAX_POLICY_ENVELOPE = 3 * 1024 * 1024;

const crypto = nodeCrypto();

/** SPKI (DER) of the operators' Ed25519 keys. */
export type OperatorKeys = readonly Uint8Array[];

export interface OpenedEnrolment {
  readonly enrolment: Enrolment;
  /** Hex SHA-256 of the payload: the enrolment itself, however its envelope was written. */
  readonly sha256: string;
  readonly keyid: string;
}

/** @throws ENROLMENT_INVALID: not signed by an operator, not an enrolment, or another cluster's */
export async function openEnrolment(
  envelope: Uint8Array,
  keys: OperatorKeys,
  cluster: string,
): Promise<OpenedEnrolment> {
  if (envelope.length > MAX_ENROLMENT_ENVELOPE)
    throw new SealetError("ENROLMENT_INVALID", "The enrolment is too long");
  const opened = await openEnvelope(crypto, envelope, ENROLMENT_TYPE, keys);
  if (!opened.ok)
    throw new SealetError("ENROLMENT_INVALID", "The enrolment is not signed by an operator of this cluster", {
      predicate: "enrolment.signature",
      found: opened.why,
    });
  const enrolment = parseEnrolment(opened.payload);
  if (enrolment.cluster !== cluster)
    throw new SealetError("ENROLMENT_INVALID", "The enrolment is another cluster's", {
      predicate: "enrolment.cluster",
      expected: cluster,
      found: enrolment.cluster,
    });
  return { enrolment, sha256: sha256Hex(opened.payload), keyid: opened.keyid };
}

/** @throws SIGNATURE_INVALID */
export async function openPolicy(
  envelope: Uint8Array,
  keys: OperatorKeys,
): Promise<{ payload: Uint8Array; keyid: string }> {
  if (envelope.length > MAX_POLICY_ENVELOPE)
    throw new SealetError("POLICY_INVALID", "The policy is too long");
  const opened = await openEnvelope(crypto, envelope, POLICY_PAYLOAD_TYPE, keys);
  if (opened.ok) return opened;
  throw new SealetError("SIGNATURE_INVALID", "The policy is not signed by an operator of this cluster", {
    predicate: "policy.signature",
    found: opened.why,
  });
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
