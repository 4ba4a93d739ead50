/**
 * What a TPM 2.0 signs when it quotes PCRs, and its signatures. Big-endian, as all of the TPM's structures. Reads bytes,
 * judges nothing.
 *
 * @see TCG TPM 2.0 Library, Part 2: §10.12.8 (TPMS_ATTEST), §10.9.7 (TPML_PCR_SELECTION), §11.3.4 (TPMT_SIGNATURE)
 */
import type { DigestAlgorithm } from "../crypto.ts";
import { Reader } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

/** "\xffTCG": only the TPM itself signs what begins so. */
const TPM_GENERATED = 0xff544347;
const TPM_ST_ATTEST_QUOTE = 0x8018;
const TPM_ALG_RSASSA = 0x0014;
const TPM_ALG_SHA256 = 0x000b;
const MAX_ATTEST = 1024;
const MAX_SELECTIONS = 8;

/** TPM_ALG_ID of PCR banks; a bank of another algorithm is carried by its number. */
export const BANK = { sha256: 0x000b, sha384: 0x000c, sha512: 0x000d } as const satisfies Record<
  DigestAlgorithm,
  number
>;
export const BANK_SIZE = { sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<
  DigestAlgorithm,
  number
>;

export interface PcrSelection {
  /** TPM_ALG_ID. */
  readonly bank: number;
  /** Ascending. */
  readonly pcrs: readonly number[];
}

export interface TpmQuote {
  readonly qualifiedSigner: Uint8Array;
  /** The caller's nonce. */
  readonly extraData: Uint8Array;
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  /** Whether the clock may not have gone back. */
  readonly safe: boolean;
  readonly firmwareVersion: bigint;
  readonly selections: readonly PcrSelection[];
  readonly pcrDigest: Uint8Array;
}

/** @throws Malformed; UNEXPECTED where it is none of the TPM's own, or no quote */
export function parseTpmQuote(bytes: Uint8Array): TpmQuote {
  const what = "TPM quote";
  if (bytes.length > MAX_ATTEST) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_ATTEST} bytes`);
  const attest = new Reader(bytes, what);
  if (attest.u32be("magic") !== TPM_GENERATED)
    throw new Malformed("UNEXPECTED", what, 0, "magic is not TPM_GENERATED_VALUE");
  const type = attest.u16be("type");
  if (type !== TPM_ST_ATTEST_QUOTE)
    throw new Malformed("UNEXPECTED", what, 4, `type 0x${type.toString(16)} is no quote`);
  const quote = {
    qualifiedSigner: attest.take(attest.u16be("qualified signer's size"), "qualified signer"),
    extraData: attest.take(attest.u16be("extra data's size"), "extra data"),
    clock: attest.u64be("clock"),
    resetCount: attest.u32be("reset count"),
    restartCount: attest.u32be("restart count"),
    safe: yesNo(attest),
    firmwareVersion: attest.u64be("firmware version"),
    selections: readSelections(attest),
    pcrDigest: attest.take(attest.u16be("PCR digest's size"), "PCR digest"),
  };
  attest.end();
  return quote;
}

function yesNo(from: Reader): boolean {
  const value = from.u8("safe");
  return value <= 1 ? value === 1 : from.fail("ENCODING", `${value} is neither yes nor no`);
}

function readSelections(from: Reader): PcrSelection[] {
  const count = from.u32be("number of PCR selections");
  if (count > MAX_SELECTIONS) from.fail("TOO_LARGE", `${count} PCR selections`);
  return Array.from({ length: count }, () => {
    const bank = from.u16be("bank");
    const bits = from.take(from.u8("size of the selection"), "selection");
    const pcrs = Array.from({ length: 8 * bits.length }, (_, pcr) => pcr);
    return { bank, pcrs: pcrs.filter((pcr) => ((bits[pcr >> 3] ?? 0) & (1 << (pcr & 7))) !== 0) };
  });
}

/** The signature of a TPMT_SIGNATURE that is RSASSA with SHA-256. @throws Malformed */
export function parseRsaSignature(bytes: Uint8Array): Uint8Array {
  const signature = new Reader(bytes, "TPM signature");
  const algorithm = signature.u16be("algorithm");
  if (algorithm !== TPM_ALG_RSASSA) signature.fail("UNSUPPORTED", `algorithm 0x${algorithm.toString(16)}`);
  const hash = signature.u16be("hash");
  if (hash !== TPM_ALG_SHA256) signature.fail("UNSUPPORTED", `hash 0x${hash.toString(16)}`);
  const value = signature.take(signature.u16be("size"), "signature");
  signature.end();
  return value;
}
