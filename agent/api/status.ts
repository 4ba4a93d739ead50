/**
 * Errors on the wire: each code as a gRPC status, and the whole `SealetError` in the trailer, so that both ends see one
 * and the same error. What is not a `SealetError` crosses as INTERNAL without its message: that is for this side's log.
 */
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type Code, SealetError, isCode } from "../error.ts";

export const GRPC_STATUS = {
  TEE_ABSENT: status.FAILED_PRECONDITION,
  TEE_REFUSED: status.FAILED_PRECONDITION,
  EVIDENCE_THROTTLED: status.RESOURCE_EXHAUSTED,
  EVIDENCE_CHANNEL_LOST: status.FAILED_PRECONDITION,
  EVIDENCE_MALFORMED: status.INVALID_ARGUMENT,
  EVIDENCE_REFUSED: status.PERMISSION_DENIED,
  POLICY_INVALID: status.INVALID_ARGUMENT,
  POLICY_ROLLED_BACK: status.FAILED_PRECONDITION,
  COLLATERAL_UNAVAILABLE: status.UNAVAILABLE,
  COLLATERAL_INVALID: status.INVALID_ARGUMENT,
  COLLATERAL_ROLLED_BACK: status.FAILED_PRECONDITION,
  SIGNATURE_INVALID: status.PERMISSION_DENIED,
  CONFIG_INVALID: status.INVALID_ARGUMENT,
  INITDATA_MISSING: status.FAILED_PRECONDITION,
  INITDATA_INVALID: status.INVALID_ARGUMENT,
  KMS_UNREACHABLE: status.UNAVAILABLE,
  KMS_UNTRUSTED: status.PERMISSION_DENIED,
  KMS_BUSY: status.RESOURCE_EXHAUSTED,
  PROTOCOL_VERSION: status.FAILED_PRECONDITION,
  REQUEST_INVALID: status.INVALID_ARGUMENT,
  NONCE_INVALID: status.ABORTED,
  NODE_UNKNOWN: status.NOT_FOUND,
  NODE_EXISTS: status.ALREADY_EXISTS,
  ENROLMENT_INVALID: status.PERMISSION_DENIED,
  LEASE_HELD: status.FAILED_PRECONDITION,
  LEASE_LOST: status.FAILED_PRECONDITION,
  RELEASE_REFUSED: status.FAILED_PRECONDITION,
  AUDIT_FAILED: status.UNAVAILABLE,
  AUDIT_BROKEN: status.FAILED_PRECONDITION,
  STORE_FAILED: status.UNAVAILABLE,
  DISK_MISSING: status.FAILED_PRECONDITION,
  DISK_FOREIGN: status.FAILED_PRECONDITION,
  DISK_DAMAGED: status.DATA_LOSS,
  DISK_BLANKED: status.FAILED_PRECONDITION,
  DISK_UNEXPECTED: status.FAILED_PRECONDITION,
  DISK_ROLLED_BACK: status.FAILED_PRECONDITION,
  DISK_BUSY: status.FAILED_PRECONDITION,
  HEADER_PROFILE: status.DATA_LOSS,
  HEADER_TAMPERED: status.DATA_LOSS,
  DISK_KEY_REFUSED: status.FAILED_PRECONDITION,
  DISK_IO: status.UNAVAILABLE,
  DISK_TOO_SMALL: status.FAILED_PRECONDITION,
  FILESYSTEM_DAMAGED: status.DATA_LOSS,
  MOUNT_FAILED: status.FAILED_PRECONDITION,
  ENROL_REFUSED: status.PERMISSION_DENIED,
  SERVICE_FAILED: status.UNAVAILABLE,
  KUBELET_UNHEALTHY: status.UNAVAILABLE,
  NATIVE_FAILED: status.INTERNAL,
  TIMEOUT: status.DEADLINE_EXCEEDED,
  CANCELLED: status.CANCELLED,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  NOT_SERVING: status.UNAVAILABLE,
  USAGE: status.INVALID_ARGUMENT,
  INTERNAL: status.INTERNAL,
} as const satisfies Record<Code, status>;

const CODE_KEY = "sealet-code";
/** Binary (`-bin`), since they may hold any text. */
const DETAILS = ["predicate", "expected", "found"] as const;
const keyOf = (detail: (typeof DETAILS)[number]) => `sealet-${detail}-bin`;
/** A peer's words end in logs and on screens: longer ones are cut. */
const MAX_DETAIL = 1024;

export interface StatusReply {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** For a grpc-js callback. */
export function toStatus(thrown: unknown): StatusReply {
  const error =
    thrown instanceof SealetError
      ? thrown
      : new SealetError("INTERNAL", "An internal error; this side's log has it.");
  const metadata = new Metadata();
  metadata.set(CODE_KEY, error.code);
  for (const detail of DETAILS) {
    const value = error[detail];
    if (value !== undefined) metadata.set(keyOf(detail), Buffer.from(value.slice(0, MAX_DETAIL)));
  }
  return { code: GRPC_STATUS[error.code], details: error.message.slice(0, MAX_DETAIL), metadata };
}

/**
 * What the other side said. Without our code in the trailer the status itself speaks (a proxy, or another server).
 * @param unreachable the code for "nobody answered"
 */
export function fromStatus(failure: ServiceError, unreachable: Code): SealetError {
  const named = first(failure.metadata, CODE_KEY)?.toString();
  const detail = {
    cause: failure,
    predicate: detailOf(failure.metadata, "predicate"),
    expected: detailOf(failure.metadata, "expected"),
    found: detailOf(failure.metadata, "found"),
  };
  const ours = named !== undefined;
  const code = ours && isCode(named) ? named : codeOfStatus(failure.code, unreachable, ours);
  return new SealetError(code, failure.details.slice(0, MAX_DETAIL) || failure.message, detail);
}

/** Whether a call failed with it; grpc-js has no class for it. */
export function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && "metadata" in thrown && "details" in thrown;
}

/** Whether the answer came from sealet: nothing of ours stands in the trailer of a connection that failed. */
export function isOurs(failure: ServiceError): boolean {
  return first(failure.metadata, CODE_KEY) !== undefined;
}

function first(metadata: Metadata | undefined, key: string): string | Buffer | undefined {
  return metadata?.get(key)[0];
}

function detailOf(metadata: Metadata | undefined, detail: (typeof DETAILS)[number]): string | undefined {
  return first(metadata, keyOf(detail))?.toString("utf8").slice(0, MAX_DETAIL);
}

/**
 * @param ours sealet spoke, in a code that is newer than this program. Otherwise it may be the transport: a corrupt TLS
 *   record or a reset stream is INTERNAL or CANCELLED to gRPC, and says nothing of what the other side would have said.
 * @see https://grpc.io/docs/guides/status-codes
 */
function codeOfStatus(code: status, unreachable: Code, ours: boolean): Code {
  switch (code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
      return unreachable;
    case status.CANCELLED:
    case status.UNKNOWN:
    case status.INTERNAL:
    case status.DATA_LOSS:
      return ours ? "INTERNAL" : unreachable;
    case status.UNAUTHENTICATED:
      return "UNAUTHENTICATED";
    case status.PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case status.RESOURCE_EXHAUSTED:
      return ours ? "KMS_BUSY" : "REQUEST_INVALID"; // gRPC's own: the message is too large
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
      return "REQUEST_INVALID";
    case status.UNIMPLEMENTED:
      return "PROTOCOL_VERSION";
    case status.OK:
    case status.NOT_FOUND:
    case status.ALREADY_EXISTS:
    case status.FAILED_PRECONDITION:
    case status.ABORTED:
      return "INTERNAL";
    default:
      return code satisfies never;
  }
}
