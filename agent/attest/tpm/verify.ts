/**
 * Appraises a TPM's quote: that this key signed it, over this nonce, of exactly these PCRs of exactly this bank, with these
 * values. Whose key it is has to be known beforehand.
 *
 * INVARIANT: the selection is compared whole. A digest alone says nothing of which PCRs it is of: a guest that may reset
 * PCR 16 or extend a free one can replay good events into it and have it quoted in the place of another.
 */
import { concat, equalBytes, hex } from "../bytes.ts";
import type { Crypto, DigestAlgorithm } from "../crypto.ts";
import { attempt } from "../malformed.ts";
import type { Unchecked } from "../policy-fields.ts";
import type { Checks } from "../verdict.ts";
import { oneOf } from "../rule.ts";
import { BANK, BANK_SIZE, parseTpmQuote, type PcrSelection, type TpmQuote } from "./formats.ts";
import type { TpmPolicy } from "./policy.ts";

export const TPM_PREDICATES = {
  "tpm.quote.format": "The quote is a well-formed TPMS_ATTEST of the TPM's own, of type quote",
  "tpm.quote.signature": "The attestation key signed the quote",
  "tpm.quote.nonce": "The quote carries the nonce that this request binds",
  "tpm.quote.selection": "The quote is of exactly the bank and the PCRs that the policy names",
  "tpm.quote.digest": "The quote's digest is that of the PCR values",
  "tpm.pcrs": "Each PCR has a value that the policy allows",
} as const satisfies Record<string, string>;

export type TpmCode = keyof typeof TPM_PREDICATES;

export interface TpmEvidence {
  /** TPMS_ATTEST. */
  readonly quote: Uint8Array;
  /** RSASSA-PKCS1-v1_5 with SHA-256, without the TPM's envelope. */
  readonly signature: Uint8Array;
  /** Of the policy's bank, by PCR. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}

export interface TpmExpectation {
  /** DER SubjectPublicKeyInfo. */
  readonly attestationKey: Uint8Array;
  readonly nonce: Uint8Array | Unchecked;
}

/** @returns the quote where it could be read */
export async function checkTpm(
  checks: Checks<TpmCode>,
  crypto: Crypto,
  evidence: TpmEvidence,
  policy: TpmPolicy,
  expect: TpmExpectation,
): Promise<TpmQuote | undefined> {
  // copied: the caller's buffers may change while the signature is verified
  const bytes = new Uint8Array(evidence.quote);
  const quote = checks.parsed(
    "tpm.quote.format",
    "TPMS_ATTEST of type quote",
    attempt(() => parseTpmQuote(bytes)),
  );
  if (quote === undefined) return undefined;
  const { nonce } = expect;
  if ("unchecked" in nonce) checks.unchecked("tpm.quote.nonce", nonce.unchecked, () => hex(quote.extraData));
  else checks.equal("tpm.quote.nonce", nonce, quote.extraData);
  const bank = policy.bank;
  const wanted = Object.keys(policy.pcrs)
    .map(Number)
    .toSorted((a, b) => a - b);
  const selected = isSelection(quote.selections, bank, wanted);
  checks.check("tpm.quote.selection", selected, `${bank}:${wanted.join(",")}`, () =>
    describe(quote.selections),
  );
  const values = wanted.map((pcr) => evidence.pcrs.get(pcr));
  const complete = values
    .filter((value) => value?.length === BANK_SIZE[bank])
    .filter((value) => value !== undefined);
  const digest = await crypto.digest(digestOf(quote) ?? "sha256", concat(...complete));
  checks.check(
    "tpm.quote.digest",
    complete.length === wanted.length && equalBytes(digest, quote.pcrDigest),
    () => hex(digest),
    () =>
      complete.length === wanted.length ? hex(quote.pcrDigest) : "values are missing or of another size",
  );
  checkValues(checks, policy, evidence.pcrs);
  const signed = await crypto.verify("rsa-pkcs1-sha256", expect.attestationKey, evidence.signature, bytes);
  checks.check(
    "tpm.quote.signature",
    signed,
    "signed by the attestation key",
    signed ? "signed by it" : "not signed by it",
  );
  return quote;
}

function isSelection(
  selections: readonly PcrSelection[],
  bank: DigestAlgorithm,
  wanted: readonly number[],
): boolean {
  const [only, ...more] = selections;
  if (only === undefined || more.length > 0 || only.bank !== BANK[bank]) return false;
  return only.pcrs.length === wanted.length && only.pcrs.every((pcr, i) => pcr === wanted[i]);
}

function describe(selections: readonly PcrSelection[]): string {
  const names = new Map<number, string>(Object.entries(BANK).map(([name, id]) => [id, name]));
  const texts = selections.map(
    ({ bank, pcrs }) => `${names.get(bank) ?? `0x${bank.toString(16)}`}:${pcrs.join(",")}`,
  );
  return texts.join(" and ") || "nothing";
}

/** The digest over the PCRs is of the signature's hash, which need not be the bank's. */
function digestOf({ pcrDigest }: TpmQuote): DigestAlgorithm | undefined {
  if (pcrDigest.length === BANK_SIZE.sha256) return "sha256";
  if (pcrDigest.length === BANK_SIZE.sha384) return "sha384";
  return pcrDigest.length === BANK_SIZE.sha512 ? "sha512" : undefined;
}

function checkValues(
  checks: Checks<TpmCode>,
  { pcrs }: TpmPolicy,
  values: ReadonlyMap<number, Uint8Array>,
): void {
  const wrong = Object.entries(pcrs).flatMap(([pcr, rule]) => {
    if ("unchecked" in rule) return [];
    const value = values.get(Number(pcr));
    const found = value === undefined ? "missing" : hex(value);
    return rule.anyOf.includes(found) ? [] : [{ pcr, found, expected: oneOf(rule.anyOf) }];
  });
  checks.check(
    "tpm.pcrs",
    wrong.length === 0,
    () => wrong.map(({ pcr, expected }) => `PCR ${pcr} ${expected}`).join("; ") || "values of the policy",
    () => wrong.map(({ pcr, found }) => `PCR ${pcr} ${found}`).join("; ") || "values of the policy",
  );
}
