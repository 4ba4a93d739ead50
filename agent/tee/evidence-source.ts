/**
 * What the agent asks of this machine's TEE, whichever it is. Sources hand out bytes as the platform gave them; whether
 * they are worth anything is the verifier's to say, never theirs.
 */
import type { Evidence } from "../api/gen/sealet.ts";
import { SealetError } from "../error.ts";
import type { Secret } from "../../native/memory.ts";

export type TeeName = "sev-snp" | "tdx" | "arm-cca";

export interface EvidenceOptions {
  /** Ends the waiting, never a request that the platform works on: that runs to its end before the next begins. */
  readonly signal: AbortSignal;
  /** SNP: the privilege level that the report is to name; by default the one that this kernel runs at. */
  readonly vmpl?: number;
}

export interface EvidenceSource {
  readonly tee: TeeName;
  /** Where it comes from, for people: `/dev/sev-guest`. */
  readonly origin: string;
  /**
   * A report or quote over the bytes, and what came with it.
   * @param reportData 64 bytes
   * @throws TEE_REFUSED, EVIDENCE_THROTTLED, EVIDENCE_CHANNEL_LOST, EVIDENCE_MALFORMED, TEE_ABSENT, CANCELLED
   */
  getEvidence(reportData: Uint8Array, options: EvidenceOptions): Promise<Evidence>;
  /** Where the TEE has a key of its own for this very guest. */
  readonly deriveKey?: (request: DerivedKeyRequest, signal: AbortSignal) => Promise<Secret>;
}

/** What a derived key depends on besides the chip (SEV-SNP ABI 1.58, table 19, GUEST_FIELD_SELECT). */
export const KEY_FIELDS = {
  policy: 1 << 0,
  imageId: 1 << 1,
  familyId: 1 << 2,
  measurement: 1 << 3,
  guestSvn: 1 << 4,
  tcbVersion: 1 << 5,
} as const;

export interface DerivedKeyRequest {
  /** `vcek`: this chip at this TCB; `vmrk`: the migration agent's root key. */
  readonly root: "vcek" | "vmrk";
  readonly fields: readonly (keyof typeof KEY_FIELDS)[];
  readonly vmpl?: number;
  /** At most the guest's own; counts only with its field. */
  readonly guestSvn?: number;
  readonly tcbVersion?: bigint;
}

const REPORT_DATA_SIZE = 64;

/** @throws INTERNAL: a wrong length is a defect of the caller, and padding it here would hide what is signed */
export function checkReportData(reportData: Uint8Array): void {
  if (reportData.length !== REPORT_DATA_SIZE)
    throw new SealetError("INTERNAL", `report data has ${reportData.length} bytes, not ${REPORT_DATA_SIZE}`);
}
