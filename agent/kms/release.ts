/**
 * The rules of a node record: who may hold its lease, which disk it may open, which epoch comes next. Pure: a record and
 * a request in, a new record or a refusal out. What an accepted piece of evidence is was decided before.
 */
import { decide, relate } from "../disk/decision.ts";
import { SealetError } from "../error.ts";
import type { PresentedDisk } from "./disk-facts.ts";
import type { LeaseRecord, NodeRecord } from "./record.ts";

export interface Grant {
  readonly record: NodeRecord;
  readonly lease: LeaseRecord;
  readonly format: boolean;
  readonly uuid: string;
  readonly nextEpoch: number;
}

export interface UnsealRequest {
  /** Hex SHA-256 of the asking key. */
  readonly holder: string;
  readonly disk: PresentedDisk;
  readonly now: number;
  readonly leaseMs: number;
  /** For a lease, and for a disk that is to be formatted. */
  readonly fresh: { readonly leaseId: string; readonly uuid: string };
}

/** @throws LEASE_HELD, RELEASE_REFUSED, DISK_* */
export function grantUnseal(record: NodeRecord, request: UnsealRequest): Grant {
  const { holder, disk, now, leaseMs, fresh } = request;
  refuseOtherHolder(record, holder, now);
  const decision = decide(disk.state, relate(record.disk, disk.uuid));
  if (decision.action === "refuse") throw refusedDisk(decision.code, record, disk);
  if (decision.action === "open") checkAge(record, disk);
  const format = decision.action === "format";
  const uuid = record.disk.state === "expects-blank" ? fresh.uuid : record.disk.uuid;
  const lease = { id: fresh.leaseId, holder, expires: now + leaseMs, committed: false };
  return {
    record: {
      ...record,
      disk: record.disk.state === "sealed" ? record.disk : { state: "formatting", uuid },
      lease,
      lastUnseal: now,
    },
    lease,
    format,
    uuid,
    // Not the disk's epoch + 1: after a crash between write and commit the disk carries this one already, and as many
    // such crashes as may come, it never gets further ahead than one.
    nextEpoch: record.epoch + 1,
  };
}

/** INVARIANT (I6): one holder at a time. */
function refuseOtherHolder({ lease, name }: NodeRecord, holder: string, now: number): void {
  if (lease === null || now >= lease.expires || lease.holder === holder) return;
  throw new SealetError("LEASE_HELD", `Another machine holds the identity of ${name}`, {
    predicate: "lease.holder",
    expected: "no lease, or this machine's",
    found: `another machine's, until ${new Date(lease.expires).toISOString()}`,
  });
}

/** INVARIANT (I5): never older than what was committed. One ahead is a commit that was lost on its way. */
function checkAge({ generation, epoch }: NodeRecord, disk: PresentedDisk): void {
  if (disk.generation !== generation)
    throw new SealetError("RELEASE_REFUSED", "The disk's key generation is not the one on record", {
      predicate: "disk.generation",
      expected: String(generation),
      found: String(disk.generation),
    });
  if (disk.epoch === epoch + 1 || (disk.epoch === epoch && epoch > 0)) return;
  const older = disk.epoch < epoch;
  const message = older
    ? "The disk is older than the last one that was unsealed"
    : "The disk claims to be newer than anything that was released for it";
  throw new SealetError(older ? "DISK_ROLLED_BACK" : "RELEASE_REFUSED", message, {
    predicate: "disk.epoch",
    expected: epoch === 0 ? "1" : `${epoch} or ${epoch + 1}`,
    found: String(disk.epoch),
  });
}

const named = (state: string, uuid: string) => (uuid === "" ? state : `${state}, ${uuid}`);

function refusedDisk(code: SealetError["code"], { disk }: NodeRecord, found: PresentedDisk): SealetError {
  return new SealetError(code, "The disk is not the one on record", {
    predicate: "disk",
    expected: named(disk.state, disk.uuid),
    found: named(found.state, found.uuid),
  });
}

/** The peer's own live lease. @throws LEASE_LOST */
export function liveLease(record: NodeRecord, holder: string, now: number): LeaseRecord {
  const { lease } = record;
  const held = lease?.holder === holder ? lease : null;
  if (held !== null && now < held.expires) return held;
  throw new SealetError("LEASE_LOST", `This machine does not hold the lease of ${record.name}`, {
    predicate: "lease",
    expected: "a live lease of this machine",
    found: held === null ? "none" : `one that ended ${new Date(held.expires).toISOString()}`,
  });
}

/** The epoch stands on the disk. Again with the same epoch changes nothing. @throws LEASE_LOST, RELEASE_REFUSED */
export function commitEpoch(
  record: NodeRecord,
  request: { readonly holder: string; readonly uuid: string; readonly epoch: number; readonly now: number },
): NodeRecord {
  const lease = liveLease(record, request.holder, request.now);
  if (record.disk.state === "expects-blank" || record.disk.uuid !== request.uuid)
    throw new SealetError("RELEASE_REFUSED", "The disk is not the one on record", {
      predicate: "disk.uuid",
      expected: record.disk.uuid || "none",
      found: request.uuid.slice(0, 64),
    });
  const next = record.epoch + 1;
  const repeated = lease.committed && request.epoch === record.epoch;
  if (!repeated && (lease.committed || request.epoch !== next))
    throw new SealetError("RELEASE_REFUSED", "The epoch is not the one that was given out", {
      predicate: "disk.epoch",
      expected: String(lease.committed ? record.epoch : next),
      found: String(request.epoch),
    });
  return {
    ...record,
    disk: { state: "sealed", uuid: record.disk.uuid },
    epoch: request.epoch,
    lease: { ...lease, committed: true },
  };
}

/** @throws LEASE_LOST */
export function extendLease(
  record: NodeRecord,
  request: {
    readonly holder: string;
    readonly leaseId: string;
    readonly now: number;
    readonly leaseMs: number;
  },
): { readonly record: NodeRecord; readonly lease: LeaseRecord } {
  const held = liveLease(record, request.holder, request.now);
  if (held.id !== request.leaseId)
    throw new SealetError("LEASE_LOST", `The lease of ${record.name} was given out anew`, {
      predicate: "lease.id",
      expected: held.id,
      found: request.leaseId.slice(0, 64),
    });
  const lease = { ...held, expires: Math.max(held.expires, request.now + request.leaseMs) };
  return { record: { ...record, lease }, lease };
}
