/**
 * Which failure heals, and how long to wait: a table over every code, and one formula.
 *
 * INVARIANT: what says that somebody changed something (a tampered header, refused evidence, another's disk) is never
 * tried again by the agent itself: it stands as a named failure until a person acts.
 */
import type { Code } from "../error.ts";

/** From the strictest on: a phase allows at most its own class, whatever the code would allow. */
const RETRY_CLASSES = ["never", "briefly", "while-it-heals"] as const;
export type RetryClass = (typeof RETRY_CLASSES)[number];

export const RETRY = {
  // Devices and modules appear while the machine starts.
  TEE_ABSENT: "briefly",
  INITDATA_MISSING: "briefly",
  DISK_MISSING: "briefly",
  DISK_BUSY: "briefly",
  // A fresh challenge is asked for.
  NONCE_INVALID: "briefly",

  EVIDENCE_THROTTLED: "while-it-heals",
  KMS_UNREACHABLE: "while-it-heals",
  // Whoever owns the network can answer in the KMS's place: that must not stop a node for good.
  KMS_UNTRUSTED: "while-it-heals",
  KMS_BUSY: "while-it-heals",
  LEASE_HELD: "while-it-heals",
  COLLATERAL_UNAVAILABLE: "while-it-heals",
  AUDIT_FAILED: "while-it-heals",
  AUDIT_BROKEN: "never",
  STORE_FAILED: "while-it-heals",
  NOT_SERVING: "while-it-heals",
  SERVICE_FAILED: "while-it-heals",
  KUBELET_UNHEALTHY: "while-it-heals",
  TIMEOUT: "while-it-heals",

  TEE_REFUSED: "never",
  EVIDENCE_CHANNEL_LOST: "never",
  EVIDENCE_MALFORMED: "never",
  EVIDENCE_REFUSED: "never",
  POLICY_INVALID: "never",
  POLICY_ROLLED_BACK: "never",
  COLLATERAL_INVALID: "never",
  COLLATERAL_ROLLED_BACK: "never",
  SIGNATURE_INVALID: "never",
  CONFIG_INVALID: "never",
  INITDATA_INVALID: "never",
  PROTOCOL_VERSION: "never",
  REQUEST_INVALID: "never",
  NODE_UNKNOWN: "never",
  NODE_EXISTS: "never",
  ENROLMENT_INVALID: "never",
  LEASE_LOST: "never",
  RELEASE_REFUSED: "never",
  DISK_FOREIGN: "never",
  DISK_DAMAGED: "never",
  DISK_BLANKED: "never",
  DISK_UNEXPECTED: "never",
  DISK_ROLLED_BACK: "never",
  HEADER_PROFILE: "never",
  HEADER_TAMPERED: "never",
  DISK_KEY_REFUSED: "never",
  DISK_IO: "never",
  DISK_TOO_SMALL: "never",
  FILESYSTEM_DAMAGED: "never",
  MOUNT_FAILED: "never",
  ENROL_REFUSED: "never",
  NATIVE_FAILED: "never",
  CANCELLED: "never",
  UNAUTHENTICATED: "never",
  PERMISSION_DENIED: "never",
  USAGE: "never",
  INTERNAL: "never",
} as const satisfies Record<Code, RetryClass>;

/** How often a phase is run in all; a class that heals has no end, since the KMS may be away for hours. */
const ATTEMPTS = { never: 1, briefly: 7, "while-it-heals": Infinity } as const satisfies Record<
  RetryClass,
  number
>;

const FIRST_DELAY = 250;
const LONGEST_DELAY = 30_000;

export function mayRetry(code: Code, allowed: RetryClass, attempts: number): boolean {
  const strictest = Math.min(RETRY_CLASSES.indexOf(RETRY[code]), RETRY_CLASSES.indexOf(allowed));
  return attempts < ATTEMPTS[RETRY_CLASSES[strictest] ?? "never"];
}

/**
 * Exponential backoff with full jitter: ten thousand nodes whose KMS comes back must not ask at the same moment.
 * @param attempts how many have failed, from 1
 * @param random in [0, 1)
 * @returns milliseconds
 */
export function retryDelay(attempts: number, random: number): number {
  const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(attempts - 1, 20));
  return Math.round(ceiling * random);
}
