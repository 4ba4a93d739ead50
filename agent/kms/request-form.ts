/** The form of a request: sizes and lengths, before anything of it is believed or computed on. */
import type { AttestedRequest, Evidence } from "../api/gen/sealet.ts";
import { SealetError } from "../error.ts";

const MOST = { body: 16 * 1024, report: 16 * 1024, auxiliary: 64 * 1024, eventLog: 128 * 1024 } as const;

/** What gRPC takes off the wire: the parts above, and their framing. */
export const MAX_MESSAGE_BYTES = 256 * 1024;

/** @throws REQUEST_INVALID */
export function checkSizes({ body, evidence }: AttestedRequest): Evidence {
  if (evidence === undefined) throw malformed("evidence", "evidence", "none");
  const { report, auxiliary, eventLog } = evidence;
  for (const [field, bytes, most] of [
    ["body", body, MOST.body],
    ["evidence.report", report, MOST.report],
    ["evidence.auxiliary", auxiliary, MOST.auxiliary],
    ["evidence.event_log", eventLog, MOST.eventLog],
  ] as const)
    if (bytes.length > most) throw malformed(field, `at most ${most} bytes`, `${bytes.length} bytes`);
  return evidence;
}

/** @throws REQUEST_INVALID */
export function decodeBody<T extends { readonly nonce: Uint8Array }>(
  type: { decode(bytes: Uint8Array): T },
  bytes: Uint8Array,
): T {
  let body: T;
  try {
    body = type.decode(bytes);
  } catch {
    throw malformed("body", "a message of this protocol", `${bytes.length} other bytes`);
  }
  demandLength("nonce", body.nonce, 32);
  return body;
}

/** @throws REQUEST_INVALID */
export function demandLength(field: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw malformed(field, `${length} bytes`, `${bytes.length} bytes`);
}

function malformed(predicate: string, expected: string, found: string): SealetError {
  const detail = { predicate, expected, found };
  return new SealetError("REQUEST_INVALID", `The request's ${predicate} is not well-formed`, detail);
}
