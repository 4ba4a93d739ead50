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
import { isUnchecked, type Unchecked } from "../policy-fields.ts";
import { oneOf, reasonsOf, withUnchecked } from "../rule.ts";
import type { Checks } from "../verdict.ts";
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

/** A quote as it was read, and as it was signed. */
export interface SignedQuote {
  readonly quote: TpmQuote;
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}

/** Everything but the signature. @returns the quote where it could be read */
export async function checkTpm(
  checks: Checks<TpmCode>,
  crypto: Crypto,
  evidence: TpmEvidence,
  policy: TpmPolicy,
  nonce: Uint8Array | Unchecked,
): Promise<SignedQuote | undefined> {
  // copied: the caller's buffers may change before the signature is verified
  const bytes = new Uint8Array(evidence.quote);
  const signature = new Uint8Array(evidence.signature);
  const quote = checks.parsed(
    "tpm.quote.format",
    "TPMS_ATTEST of type quote",
    attempt(() => parseTpmQuote(bytes)),
  );
  if (quote === undefined) return undefined;
  if (isUnchecked(nonce)) checks.unchecked("tpm.quote.nonce", nonce.unchecked, () => hex(quote.extraData));
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
  return { quote, bytes, signature };
}

/** @param attestationKey DER SubjectPublicKeyInfo */
export async function checkTpmSignature(
  checks: Checks<TpmCode>,
  crypto: Crypto,
  { bytes, signature }: SignedQuote,
  attestationKey: Uint8Array,
): Promise<void> {
  const signed = await crypto.verify("rsa-pkcs1-sha256", attestationKey, signature, bytes);
  checks.check(
    "tpm.quote.signature",
    signed,
    "signed by the attestation key",
    signed ? "signed by it" : "not signed by it",
  );
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
  const group = Object.fromEntries(Object.entries(pcrs).map(([pcr, rule]) => [`PCR ${pcr}`, rule]));
  const valueOf = (pcr: string): string => {
    const value = values.get(Number(pcr));
    return value === undefined ? "missing" : hex(value);
  };
  const checked = Object.entries(pcrs).flatMap(([pcr, rule]) =>
    isUnchecked(rule) ? [] : [{ pcr, anyOf: rule.anyOf, found: valueOf(pcr) }],
  );
  if (checked.length === 0) {
    const found = (): string =>
      Object.keys(pcrs)
        .map((pcr) => `PCR ${pcr} ${valueOf(pcr)}`)
        .join("; ");
    checks.unchecked("tpm.pcrs", reasonsOf(group), found);
    return;
  }
  const wrong = checked.filter(({ anyOf, found }) => !anyOf.includes(found));
  checks.check(
    "tpm.pcrs",
    wrong.length === 0,
    () => wrong.map(({ pcr, anyOf }) => `PCR ${pcr} ${oneOf(anyOf)}`).join("; ") || "values of the policy",
    () => {
      const found = wrong.map((one) => `PCR ${one.pcr} ${one.found}`).join("; ") || "values of the policy";
      return withUnchecked(found, group);
    },
  );
}
