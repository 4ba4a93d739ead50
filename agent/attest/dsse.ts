/**
 * Verification of signed files (policy, enrolment, collateral bundle): DSSE v1 envelopes with Ed25519 keys. The payload
 * is given out only after a signature of a trusted key held; nothing else in the envelope is to be believed.
 */
import { fromBase64 } from "./base64.ts";
import { concat, hex } from "./bytes.ts";
import type { Crypto } from "./crypto.ts";
import { parseJson } from "./json.ts";
import { attempt, Malformed, type Result } from "./malformed.ts";

const MAX_ENVELOPE = 4 * 1024 * 1024;
const MAX_SIGNATURES = 16;
/** Of what the envelope itself says, in a refusal. */
const MAX_QUOTED = 80;

export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly { readonly keyid: string; readonly sig: Uint8Array }[];
}

/** The bytes that a signature is over (DSSE v1, "PAE"). */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder();
  const type = text.encode(payloadType);
  return concat(text.encode(`DSSEv1 ${type.length} `), type, text.encode(` ${payload.length} `), payload);
}

/** The structure alone; says nothing of signatures. */
export function parseEnvelope(bytes: Uint8Array, what = "DSSE envelope"): Result<Envelope> {
  return attempt(() => {
    if (bytes.length > MAX_ENVELOPE) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_ENVELOPE} bytes`);
    const fields = object(parseJson(bytes, what), what, ["payload", "payloadType", "signatures"]);
    const { payload, payloadType, signatures } = fields;
    if (typeof payload !== "string" || typeof payloadType !== "string" || !Array.isArray(signatures))
      throw new Malformed("UNEXPECTED", what, 0, "payload, payloadType or signatures is of another type");
    if (signatures.length === 0 || signatures.length > MAX_SIGNATURES)
      throw new Malformed("UNEXPECTED", what, 0, `${signatures.length} signatures`);
    return {
      payloadType,
      payload: fromBase64(payload, `${what} payload`),
      signatures: signatures.map((entry: unknown) => {
        const { keyid, sig } = object(entry, what, ["keyid", "sig"]);
        if (typeof keyid !== "string" || typeof sig !== "string")
          throw new Malformed("UNEXPECTED", what, 0, "keyid or sig is no string");
        return { keyid, sig: fromBase64(sig, `${what} signature`) };
      }),
    };
  });
}

function object(value: unknown, what: string, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Malformed("UNEXPECTED", what, 0, "not a JSON object");
  const fields: Record<string, unknown> = { ...value };
  const unknown = Object.keys(fields).find((key) => !keys.includes(key));
  if (unknown !== undefined)
    throw new Malformed("UNEXPECTED", what, 0, `unknown key ${quoted(JSON.stringify(unknown))}`);
  return fields;
}

const quoted = (text: string) => text.slice(0, MAX_QUOTED);

export type Opened =
  | { readonly ok: true; readonly payload: Uint8Array; readonly keyid: string }
  | { readonly ok: false; readonly why: string };

/**
 * The payload, where one of `keys` signed it.
 * @param keys trusted keys as DER SubjectPublicKeyInfo (Ed25519)
 * @param payloadType the one type that the caller wants: a policy never passes for an enrolment
 */
export async function openEnvelope(
  crypto: Crypto,
  bytes: Uint8Array,
  payloadType: string,
  keys: readonly Uint8Array[],
): Promise<Opened> {
  const envelope = parseEnvelope(bytes);
  if (!envelope.ok) return { ok: false, why: envelope.refusal.why };
  if (envelope.value.payloadType !== payloadType)
    return {
      ok: false,
      why: `payload type is "${quoted(envelope.value.payloadType)}", not "${payloadType}"`,
    };
  const { payload, signatures } = envelope.value;
  const signed = preAuthEncoding(payloadType, payload);
  for (const spki of keys) {
    const id = await keyId(crypto, spki);
    for (const { keyid, sig } of signatures)
      if (keyid === id && sig.length === 64 && (await crypto.verify("ed25519", spki, sig, signed)))
        return { ok: true, payload, keyid };
  }
  return {
    ok: false,
    why: `no signature of a trusted key (signed by ${signatures.map(({ keyid }) => quoted(keyid)).join(", ")})`,
  };
}

/** Hex SHA-256 of the key's DER SubjectPublicKeyInfo. */
export async function keyId(crypto: Crypto, spki: Uint8Array): Promise<string> {
  return hex(await crypto.digest("sha256", spki));
}
