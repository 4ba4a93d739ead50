/**
 * The launch's own word on initdata. The KMS holds it against what an operator signed; the machine has to as well, or a
 * host could give a machine that was launched for one KMS the pin and endpoints of another.
 */
import type { Evidence } from "../api/gen/sealet.ts";
import { equalBytes, hex, isZero } from "../attest/bytes.ts";
import { attempt } from "../attest/malformed.ts";
import { REPORT } from "../attest/snp/report.ts";
import { parseQuote } from "../attest/tdx/quote.ts";
import type { InitdataDigests } from "../config/initdata.ts";
import { SealetError } from "../error.ts";

/**
 * Zeros bind nothing: there are platforms that can't, and what that is worth the KMS's policy says.
 * @throws INITDATA_INVALID
 */
export function demandBound({ tee, report }: Evidence, { sha256, sha384 }: InitdataDigests): void {
  const bound = attempt(() => {
    if (tee === "sev-snp") return { found: REPORT.decode(report).hostData, expected: sha256 };
    if (tee === "tdx") return { found: parseQuote(report).td.fields.mrConfigId, expected: sha384 };
    return undefined;
  });
  // evidence that can't be read is refused by whoever judges it
  if (!bound.ok || bound.value === undefined) return;
  const { found, expected } = bound.value;
  if (isZero(found) || equalBytes(expected, found)) return;
  throw new SealetError("INITDATA_INVALID", "This machine was launched for another initdata", {
    predicate: "initdata",
    expected: hex(found),
    found: hex(expected),
  });
}
