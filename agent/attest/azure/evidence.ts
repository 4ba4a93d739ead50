/**
 * How a node on Azure packs what it collected into the two byte fields of its evidence: the paravisor's report stands
 * alone, everything else is framed, each part after its length (u32, big-endian).
 */
import { Reader } from "../bytes.ts";
import { frame } from "../report-data.ts";
import type { TpmEvidence } from "../tpm/verify.ts";

export interface AzureAuxiliary {
  readonly tpm: TpmEvidence;
  /** SNP: certificate table or nothing; TDX: the quote. */
  readonly hardware: Uint8Array;
}

/** PCRs 0 to 23 of one bank, in order; a PCR that was not read is empty. */
const PCRS = 24;
const FORMAT = 1;

export function packAzureAuxiliary({ tpm, hardware }: AzureAuxiliary): Uint8Array {
  const values = Array.from({ length: PCRS }, (_, pcr) => tpm.pcrs.get(pcr) ?? new Uint8Array(0));
  return frame(Uint8Array.of(FORMAT), tpm.quote, tpm.signature, hardware, ...values);
}

/** @throws Malformed */
export function unpackAzureAuxiliary(bytes: Uint8Array): AzureAuxiliary {
  const reader = new Reader(bytes, "Azure evidence");
  const part = (name: string): Uint8Array => reader.take(reader.u32be(`${name}'s length`), name);
  const format = part("format");
  if (format.length !== 1 || format[0] !== FORMAT) reader.fail("UNSUPPORTED", "format is not known here");
  const quote = part("TPM quote");
  const signature = part("TPM signature");
  const hardware = part("hardware's part");
  const pcrs = new Map<number, Uint8Array>();
  for (let pcr = 0; pcr < PCRS; pcr++) {
    const value = part(`PCR ${pcr}`);
    if (value.length > 0) pcrs.set(pcr, value);
  }
  reader.end();
  return { tpm: { quote, signature, pcrs }, hardware };
}
