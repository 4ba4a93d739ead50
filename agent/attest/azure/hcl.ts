/**
 * The report of Azure's paravisor (HCL): the hardware's report, and runtime data whose digest the hardware's report
 * carries. Of the header only the magic counts: its version and sizes differ between genuine reports.
 *
 * @see Azure "Confidential VM guest attestation", HCL report in NV index 0x01400001
 */
import { type Decoded, Reader, structure } from "../bytes.ts";
import type { DigestAlgorithm } from "../crypto.ts";
import { Malformed } from "../malformed.ts";

const MAX_HCL = 16 * 1024;
const MAGIC = 0x414c4348; // "HCLA"
const HARDWARE_SLOT = 1184;
const TD_REPORT_SIZE = 1024;

const HEADER = structure("HCL header", 32, [
  ["magic", 0, 4, "u32"],
  ["version", 4, 4, "u32"],
  ["reportSize", 8, 4, "u32"],
  ["requestType", 12, 4, "u32"],
  ["status", 16, 4, "u32"],
  ["padding", 20, 12, "bytes"],
]);

const RUNTIME = structure("HCL runtime data header", 20, [
  ["size", 0, 4, "u32"],
  ["version", 4, 4, "u32"],
  ["reportType", 8, 4, "u32"],
  ["hashType", 12, 4, "u32"],
  ["length", 16, 4, "u32"],
]);

const REPORT_TYPE: Readonly<Record<number, "sev-snp" | "tdx">> = { 2: "sev-snp", 4: "tdx" };
const HASH_TYPE: Readonly<Record<number, DigestAlgorithm>> = { 1: "sha256", 2: "sha384", 3: "sha512" };

/** A TDREPORT is MACed for its own machine: what is verified elsewhere is the quote that was made of it. */
export const TD_REPORT = structure("TDREPORT", TD_REPORT_SIZE, [
  ["reportType", 0, 4, "bytes"],
  ["reserved1", 4, 12, "zero"],
  ["cpuSvn", 16, 16, "bytes"],
  ["teeTcbInfoHash", 32, 48, "bytes"],
  ["teeInfoHash", 80, 48, "bytes"],
  ["reportData", 128, 64, "bytes"],
  ["reserved2", 192, 32, "zero"],
  ["mac", 224, 32, "bytes"],
  ["teeTcbInfo", 256, 239, "bytes"],
  ["reserved3", 495, 17, "zero"],
  ["tdAttributes", 512, 8, "u64"],
  ["xfam", 520, 8, "u64"],
  ["mrTd", 528, 48, "bytes"],
  ["mrConfigId", 576, 48, "bytes"],
  ["mrOwner", 624, 48, "bytes"],
  ["mrOwnerConfig", 672, 48, "bytes"],
  ["rtmr0", 720, 48, "bytes"],
  ["rtmr1", 768, 48, "bytes"],
  ["rtmr2", 816, 48, "bytes"],
  ["rtmr3", 864, 48, "bytes"],
  ["mrServiceTd", 912, 48, "bytes"],
  ["extension", 960, 64, "bytes"],
]);

export interface HclReport {
  readonly tee: "sev-snp" | "tdx";
  /** SNP report (1184 bytes) or TDREPORT (1024 bytes). */
  readonly hardwareReport: Uint8Array;
  readonly hash: DigestAlgorithm;
  /** JSON, exactly as it was hashed. */
  readonly runtimeData: Uint8Array;
  readonly header: Decoded<typeof HEADER.rows>;
}

/** What stands after the runtime data is signed by nobody, and is not read. @throws Malformed */
export function parseHclReport(bytes: Uint8Array): HclReport {
  const what = "HCL report";
  if (bytes.length > MAX_HCL) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_HCL} bytes`);
  const reader = new Reader(bytes, what);
  const header = HEADER.decode(reader.take(HEADER.size, "header"));
  if (header.magic !== MAGIC) throw new Malformed("UNEXPECTED", what, 0, "magic is not HCLA");
  const slot = reader.take(HARDWARE_SLOT, "hardware report");
  const runtime = RUNTIME.decode(reader.take(RUNTIME.size, "runtime data header"));
  const tee = REPORT_TYPE[runtime.reportType];
  if (tee === undefined) return reader.fail("UNSUPPORTED", `hardware report of type ${runtime.reportType}`);
  const hash = HASH_TYPE[runtime.hashType];
  if (hash === undefined) return reader.fail("UNSUPPORTED", `hash of type ${runtime.hashType}`);
  return {
    tee,
    hardwareReport: tee === "tdx" ? slot.subarray(0, TD_REPORT_SIZE) : slot,
    hash,
    runtimeData: reader.take(runtime.length, "runtime data"),
    header,
  };
}
