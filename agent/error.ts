/**
 * The one error class and its closed set of codes. Tables over the codes (gRPC status, exit code, retry class) live
 * beside their consumers and are exhaustive: a code that is added here fails to compile until each table has it.
 */

/** Every code with what a person does about it. Codes are stable: they are API, audit log and exit status. */
export const REMEDY = {
  // this machine's TEE
  TEE_ABSENT: "Start this image in a confidential VM (SEV-SNP or TDX); without one nothing is unsealed.",
  TEE_REFUSED:
    "The TEE's firmware refused the request; see its status in the message and the platform's release notes.",
  EVIDENCE_THROTTLED:
    "The platform gives no evidence now (its limit, or its quoting service is away); the agent repeats by itself.",
  EVIDENCE_CHANNEL_LOST: "The guest's channel to the TEE firmware is closed until a reboot: reboot this VM.",
  EVIDENCE_MALFORMED:
    "These bytes are no evidence: name the right file, or report it to the operator of the platform that gave them.",
  // evidence, policy
  EVIDENCE_REFUSED:
    "The evidence does not meet the policy: see the failed predicates; update the node or the policy.",
  POLICY_INVALID: "Correct the policy file at the paths named, sign it and apply it again.",
  POLICY_ROLLED_BACK: "Apply a policy whose version is higher than the one in force.",
  COLLATERAL_UNAVAILABLE:
    "AMD's or Intel's service was not reached: check proxy and network, or bring a collateral bundle.",
  COLLATERAL_INVALID:
    "The collateral is not well-formed, or from the future: fetch it again, bring another, or set the clock.",
  COLLATERAL_ROLLED_BACK: "The collateral is older than what was seen already: bring a newer bundle.",
  SIGNATURE_INVALID: "Sign the file with an operator key that the KMS trusts.",
  // configuration
  CONFIG_INVALID: "Correct the configuration at the paths named.",
  INITDATA_MISSING:
    "Attach the node's initdata (from 'sealet nodes add') as its disk with the serial 'initdata'.",
  INITDATA_INVALID: "Make the node's initdata anew with 'sealet nodes reissue'.",
  // KMS
  KMS_UNREACHABLE:
    "Check that the KMS runs and that the node reaches its endpoints; the agent repeats by itself.",
  KMS_UNTRUSTED:
    "The KMS does not have the key that initdata pins: check the endpoints, or 'sealet nodes reissue'.",
  KMS_BUSY: "The KMS has more requests than it takes at once; the agent repeats by itself.",
  PROTOCOL_VERSION: "Update the older of agent and KMS: they have no protocol version in common.",
  REQUEST_INVALID: "The request is not well-formed; agent and KMS may be of different versions.",
  NONCE_INVALID: "The challenge was used, has expired or is not the KMS's own; the agent asks for a new one.",
  NODE_UNKNOWN: "Add the node with 'sealet nodes add'.",
  NODE_EXISTS:
    "The name is taken: choose another. 'sealet nodes reissue' makes this node's initdata anew, with its disk kept.",
  ENROLMENT_INVALID:
    "The enrolment is not signed by an operator key that the KMS trusts: make the initdata anew with 'sealet nodes reissue'.",
  LEASE_HELD:
    "Another machine holds this node's identity. Stop it, or wait until its lease ends, or 'sealet nodes release'.",
  LEASE_LOST: "The lease ended or is another machine's: this machine locks, and asks anew a minute later.",
  RELEASE_REFUSED: "The KMS's record of the node does not allow this release; see the message.",
  AUDIT_FAILED:
    "The KMS could not write its audit log and therefore answered nothing: free disk space on the KMS.",
  AUDIT_BROKEN:
    "The KMS's database was changed or put back: keep it as it is, find out by whom, and compare it with a backup.",
  STORE_FAILED: "The KMS's database could not be read or written: check its disk.",
  // state disk
  DISK_MISSING: "Attach the state disk (serial 'state').",
  DISK_FOREIGN:
    "The disk holds data that is not sealet's; nothing was written. Attach the right disk, or wipe this one.",
  DISK_DAMAGED:
    "The header of the state disk is damaged; nothing was written. Restore the disk from a snapshot.",
  DISK_BLANKED:
    "The node's disk is known, but this one is blank: attach the right one, or 'sealet nodes reset-disk'.",
  DISK_UNEXPECTED:
    "The disk is another node's or another cluster's; nothing was written. Attach the right one.",
  DISK_ROLLED_BACK: "The disk is older than the last one unsealed (a snapshot?): attach the current one.",
  DISK_BUSY: "Something else uses the state disk: see 'sealet disk'.",
  HEADER_PROFILE:
    "The LUKS2 header asks for what sealet never writes: somebody changed it. Restore the disk.",
  HEADER_TAMPERED: "The LUKS2 header is not the one sealet wrote: somebody changed it. Restore the disk.",
  DISK_KEY_REFUSED: "The key does not open the disk; nothing was written.",
  DISK_IO: "The disk cannot be read or written: check the device.",
  DISK_TOO_SMALL: "Attach a larger state disk.",
  FILESYSTEM_DAMAGED: "The file system on the state disk needs repair; nothing was written.",
  // node
  MOUNT_FAILED: "See the message; the state disk is open, but not mounted.",
  ENROL_REFUSED: "The KMS did not sign the node's certificates: see its audit log.",
  SERVICE_FAILED: "See the journal of the unit named.",
  KUBELET_UNHEALTHY: "See kubelet's journal.",
  NATIVE_FAILED: "A system call or library failed in a way that is not expected: see errno in the message.",
  TIMEOUT: "The step took longer than it may; see the events before it.",
  CANCELLED: "The agent was asked to stop.",
  UNAUTHENTICATED: "Present a client certificate of the cluster's CA.",
  PERMISSION_DENIED: "The caller is not allowed to do this.",
  NOT_SERVING: "The agent is not that far yet; see 'sealet status'.",
  USAGE: "See 'sealet help'.",
  INTERNAL: "This is a defect of sealet; please report it with the message.",
} as const satisfies Record<string, string>;

export type Code = keyof typeof REMEDY;

export function isCode(name: string): name is Code {
  return Object.hasOwn(REMEDY, name);
}

export interface ErrorDetail {
  readonly cause?: unknown;
  /** The rule that was not met, where there are several: a predicate's code of the verdict, or a field's name. */
  readonly predicate?: string | undefined;
  /** What the rule wanted, and what was there; both printable, never secret. */
  readonly expected?: string | undefined;
  readonly found?: string | undefined;
}

/** What happened and why; `code` says what kind it is, `REMEDY[code]` what to do. */
export class SealetError extends Error {
  readonly code: Code;
  readonly predicate: string | undefined;
  readonly expected: string | undefined;
  readonly found: string | undefined;

  constructor(code: Code, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "SealetError";
    this.code = code;
    this.predicate = detail.predicate;
    this.expected = detail.expected;
    this.found = detail.found;
  }
}

/** Wraps whatever was thrown; an error of ours goes through unchanged. */
export function asSealetError(thrown: unknown, code: Code = "INTERNAL"): SealetError {
  if (thrown instanceof SealetError) return thrown;
  return new SealetError(code, reasonOf(thrown), { cause: thrown });
}

/** The name of the errno ("ENOENT") that a system call of Node's failed with; undefined of any other error. */
export function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || thrown instanceof SealetError || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}

/** Its own words. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
