/** What a node says of its disk, checked for form. What it means is the decision table's of `agent/disk`. */
import type { DiskFacts } from "../api/gen/sealet.ts";
import { type DiskState, isDiskState } from "../disk/decision.ts";
import { SealetError } from "../error.ts";

export interface PresentedDisk {
  readonly state: DiskState;
  /** Empty where the disk gives none. */
  readonly uuid: string;
  /** Hex, empty where there is no header. */
  readonly headerDigest: string;
  readonly generation: number;
  readonly epoch: number;
  readonly sizeBytes: number;
}

export const isUuid = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);

/** @throws REQUEST_INVALID */
export function readDiskFacts(facts: DiskFacts | undefined): PresentedDisk {
  if (facts === undefined) throw invalid("disk", "the disk's facts", "nothing");
  const { state, uuid, headerDigest, generation } = facts;
  if (!isDiskState(state)) throw invalid("disk.state", "a state of a disk", state.slice(0, 32));
  const named = state === "interrupted" || state === "sealed";
  if (named ? !isUuid(uuid) : uuid !== "" && !isUuid(uuid))
    throw invalid("disk.uuid", named ? "a UUID" : "a UUID or nothing", uuid.slice(0, 64));
  if (headerDigest.length !== 0 && headerDigest.length !== 32)
    throw invalid("disk.header_digest", "32 bytes or none", `${headerDigest.length} bytes`);
  return {
    state,
    uuid,
    headerDigest: headerDigest.toString("hex"),
    generation,
    epoch: safe("disk.epoch", facts.epoch),
    sizeBytes: safe("disk.size_bytes", facts.sizeBytes),
  };
}

function safe(field: string, value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(field, "below 2^53", String(value));
  return Number(value);
}

function invalid(predicate: string, expected: string, found: string): SealetError {
  return new SealetError("REQUEST_INVALID", `The request's ${predicate} is not well-formed`, {
    predicate,
    expected,
    found,
  });
}
