/** What a quote and its platform say of themselves, for audit logs, people and attestation results. Judges nothing. */
import { hex } from "../bytes.ts";
import { timeText } from "../chain.ts";
import type { Claims, ClaimValue } from "../verdict.ts";
import { attributeNames, mask } from "./attributes.ts";
import type { PckChain } from "./facts.ts";
import type { Quote } from "./quote.ts";
import type { TcbRating } from "./tcb.ts";

export function quoteClaims(quote: Quote): Claims {
  const { td } = quote;
  const fields: Record<string, ClaimValue> = {};
  for (const [name, value] of Object.entries(td.fields))
    fields[name] = value instanceof Uint8Array ? hex(value) : typeof value === "bigint" ? mask(value) : value;
  return {
    quoteVersion: quote.version,
    bodyType: td.type,
    ...fields,
    tdAttributeNames: attributeNames(td.fields.tdAttributes),
  };
}

export function platformClaims({ extension, pck, caKind }: PckChain): Claims {
  const { configuration } = extension;
  return {
    fmspc: hex(extension.fmspc),
    pceId: hex(extension.pceId),
    ppid: hex(extension.ppid),
    pceSvn: extension.pceSvn,
    sgxTcbComponents: extension.components,
    pckSerial: hex(pck.serial),
    ca: caKind ?? "unknown",
    configuration: Object.entries(configuration ?? {})
      .filter(([, set]) => set === true)
      .map(([name]) => name),
  };
}

export function tcbClaims(rating: TcbRating): Claims {
  return {
    status: rating.status,
    date: rating.tcbDate === undefined ? "unknown" : timeText(rating.tcbDate),
    advisories: rating.advisories,
    platform: rating.platform,
    module: rating.module,
    quotingEnclave: rating.quotingEnclave,
  };
}
