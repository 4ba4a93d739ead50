/**
 * Which of Intel's collateral a quote needs: for who has to fetch it. It believes the quote for that alone; whether the
 * platform is right is `verify.ts`'s.
 */
import { hex } from "../bytes.ts";
import { attempt, Malformed, type Result } from "../malformed.ts";
import { type CaKind, parsePckChain } from "./facts.ts";
import { parseQuote } from "./quote.ts";

export interface PckQuery {
  /** 12 hex digits. */
  readonly fmspc: string;
  readonly ca: CaKind;
}

export function pckQuery(bytes: Uint8Array): Result<PckQuery> {
  return attempt(() => {
    const { extension, caKind } = parsePckChain(parseQuote(bytes).pckChainPem);
    if (caKind === undefined)
      throw new Malformed(
        "UNEXPECTED",
        "PCK chain",
        0,
        "its CA is neither the Platform nor the Processor CA",
      );
    return { fmspc: hex(extension.fmspc), ca: caKind };
  });
}
