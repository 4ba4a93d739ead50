/**
 * What a source checks of a TDX quote before it passes it on: that it is the answer to this very request. Offsets:
 * Intel TDX DCAP quote format, versions 4 and 5. The verifier (agent/attest) checks everything else, and this again.
 */
import { SealetError } from "../error.ts";

const TEE_TYPE_TDX = 0x81;
const HEADER = 48;
/** Of report data inside every TD report body. */
const REPORT_DATA = 520;
/** Where the body begins. */
const BODY: Readonly<Record<number, number>> = { 4: HEADER, 5: HEADER + 6 };

/** @throws EVIDENCE_MALFORMED */
export function checkQuote(quote: Buffer, reportData: Uint8Array): void {
  const body = quote.length < HEADER ? undefined : BODY[quote.readUInt16LE(0)];
  if (body === undefined || quote.length < body + REPORT_DATA + reportData.length)
    throw new SealetError("EVIDENCE_MALFORMED", "The platform's TDX quote is no quote of version 4 or 5");
  if (quote.readUInt32LE(4) !== TEE_TYPE_TDX)
    throw new SealetError("EVIDENCE_MALFORMED", "The platform's quote is not TDX's", {
      expected: `0x${TEE_TYPE_TDX.toString(16)}`,
      found: `0x${quote.readUInt32LE(4).toString(16)}`,
    });
  const echo = quote.subarray(body + REPORT_DATA, body + REPORT_DATA + reportData.length);
  if (!echo.equals(reportData))
    throw new SealetError("EVIDENCE_MALFORMED", "The platform's TDX quote is over other report data", {
      expected: Buffer.from(reportData).toString("hex"),
      found: echo.toString("hex"),
    });
}
