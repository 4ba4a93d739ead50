/**
 * What a source checks of a report before it passes it on: that it is the answer to this very request. Offsets: SEV-SNP
 * ABI 1.58, table 23. The verifier (agent/attest) checks everything else, and this again.
 */
import { SealetError } from "../error.ts";

export const SNP_REPORT_SIZE = 1184;
const VMPL_OFFSET = 0x30;
const REPORT_DATA_OFFSET = 0x50;

/** @throws EVIDENCE_MALFORMED */
export function checkSnpReport(report: Buffer, reportData: Uint8Array, vmpl: number): void {
  if (report.length !== SNP_REPORT_SIZE)
    throw new SealetError("EVIDENCE_MALFORMED", "The platform's SNP report has a wrong size", {
      expected: `${SNP_REPORT_SIZE} bytes`,
      found: `${report.length} bytes`,
    });
  const echo = report.subarray(REPORT_DATA_OFFSET, REPORT_DATA_OFFSET + reportData.length);
  if (!echo.equals(reportData))
    throw new SealetError("EVIDENCE_MALFORMED", "The platform's SNP report is over other report data", {
      expected: Buffer.from(reportData).toString("hex"),
      found: echo.toString("hex"),
    });
  const found = report.readUInt32LE(VMPL_OFFSET);
  if (found !== vmpl)
    throw new SealetError("EVIDENCE_MALFORMED", "The platform's SNP report is of another privilege level", {
      expected: `VMPL ${vmpl}`,
      found: `VMPL ${found}`,
    });
}
