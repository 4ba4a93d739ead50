/**
 * Replays an event log: what the registers must be if exactly these events were measured in this order. A match with
 * signed registers makes the digests true; whether they describe their event's data is
 * `describesItself`'s to say.
 *
 * @see TCG PC Client Platform Firmware Profile 1.06, §3.3.4; Intel TDX Virtual Firmware Design Guide, §8
 */
import { concat, equalBytes } from "../bytes.ts";
import type { Crypto, DigestAlgorithm } from "../crypto.ts";
import { DIGEST, EVENT, type EventLog, type LogEvent } from "./log.ts";

const STARTUP_LOCALITY = new TextEncoder().encode("StartupLocality\0");

/** @returns the value of each register that the log extends, by its index; undefined where the log lacks the bank */
export async function replay(
  crypto: Crypto,
  log: EventLog,
  bank: DigestAlgorithm,
): Promise<ReadonlyMap<number, Uint8Array> | undefined> {
  const { id, size } = DIGEST[bank];
  if (!log.algorithms.includes(id)) return undefined;
  const registers = new Map<number, Uint8Array>();
  for (const event of log.events) {
    if (event.type === EVENT.EV_NO_ACTION) {
      const locality = startupLocality(event);
      if (locality !== undefined && !registers.has(0)) registers.set(0, initial(size, locality));
      continue;
    }
    const digest = event.digests.get(id);
    if (digest === undefined) return undefined;
    const before = registers.get(event.index) ?? initial(size, 0);
    registers.set(event.index, await crypto.digest(bank, concat(before, digest)));
  }
  return registers;
}

/** All zero, but for PCR 0 after a start from another locality (PFP §10.4.5.3). */
function initial(size: number, locality: number): Uint8Array {
  const register = new Uint8Array(size);
  register[size - 1] = locality;
  return register;
}

function startupLocality({ index, data }: LogEvent): number | undefined {
  const size = STARTUP_LOCALITY.length;
  if (index !== 0 || data.length !== size + 1 || !equalBytes(data.subarray(0, size), STARTUP_LOCALITY))
    return undefined;
  return data[size];
}

/** Types whose digest is by definition the digest of the event's data (PFP §10.4.1, table 27). */
const DESCRIBED: ReadonlySet<number> = new Set([
  EVENT.EV_SEPARATOR,
  EVENT.EV_EFI_VARIABLE_DRIVER_CONFIG,
  EVENT.EV_EFI_VARIABLE_AUTHORITY,
  EVENT.EV_EFI_GPT_EVENT,
  EVENT.EV_EFI_ACTION,
]);

export type Description = "described" | "contradicted" | "undefined";

/** Whether the event's digest vouches for its data, can't, or shows that the data was not what was measured. */
export async function describesItself(
  crypto: Crypto,
  event: LogEvent,
  bank: DigestAlgorithm,
): Promise<Description> {
  const digest = event.digests.get(DIGEST[bank].id);
  if (digest === undefined || !DESCRIBED.has(event.type)) return "undefined";
  if (equalBytes(digest, await crypto.digest(bank, event.data))) return "described";
  return "contradicted";
}

/** The first event whose digest should be its data's and is not. */
export async function firstContradiction(
  crypto: Crypto,
  log: EventLog,
  bank: DigestAlgorithm,
): Promise<LogEvent | undefined> {
  for (const event of log.events)
    if ((await describesItself(crypto, event, bank)) === "contradicted") return event;
  return undefined;
}
