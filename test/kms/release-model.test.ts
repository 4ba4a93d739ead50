/** The rules of a node record against any course of events: machines, crashes, copies of the disk, time. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { asSealetError } from "../../agent/error.ts";
import type { PresentedDisk } from "../../agent/kms/disk-facts.ts";
import { type NodeRecord, isLive } from "../../agent/kms/record.ts";
import { type Grant, commitEpoch, extendLease, grantUnseal, liveLease } from "../../agent/kms/release.ts";

const LEASE_MS = 100;

const fresh: NodeRecord = {
  id: "00".repeat(16),
  name: "w1",
  role: "worker",
  enrolmentSha256: "00".repeat(32),
  initdataSha256: "00".repeat(32),
  initdataSha384: "00".repeat(48),
  disk: { state: "expects-blank", uuid: "" },
  generation: 1,
  epoch: 0,
  lease: null,
  podNetwork: 0,
  created: 0,
  lastUnseal: null,
};
const blank: PresentedDisk = {
  state: "blank",
  uuid: "",
  headerDigest: "",
  generation: 0,
  epoch: 0,
  sizeBytes: 1,
};

type Event =
  | { readonly kind: "unseal"; readonly machine: number; readonly copy: number | null }
  | { readonly kind: "write"; readonly machine: number }
  | { readonly kind: "commit"; readonly machine: number }
  | { readonly kind: "snapshot" }
  | { readonly kind: "wait"; readonly ms: number };

const machine = fc.nat(1);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("unseal" as const), machine, copy: fc.constant(null) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("unseal" as const), machine, copy: fc.nat(2) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("write" as const, "commit" as const), machine }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("snapshot" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(150) }) },
);

/** The world: one record, one true disk, copies that a host made of it, and what each machine holds. */
class World {
  record = fresh;
  disk = blank;
  now = 0;
  everCommitted = false;
  readonly copies: PresentedDisk[] = [];
  readonly grants = new Map<number, Grant>();

  unseal(who: number, copy: number | null): void {
    const holder = String(who).repeat(64);
    const disk = copy === null ? this.disk : (this.copies[copy] ?? this.disk);
    const { lease } = this.record;
    const others = lease !== null && lease.holder !== holder && isLive(lease, this.now);
    let grant: Grant;
    try {
      const ids = { leaseId: randomUUID().replaceAll("-", ""), uuid: randomUUID() };
      grant = grantUnseal(this.record, { holder, disk, now: this.now, leaseMs: LEASE_MS, fresh: ids });
    } catch (thrown) {
      const { code } = asSealetError(thrown);
      if (others) assert.equal(code, "LEASE_HELD");
      // The true disk is refused to nobody but a second machine, whatever crashed before.
      else assert.notEqual(disk, this.disk, `the true disk was refused: ${code}`);
      return;
    }
    assert.ok(!others, "I6: two holders");
    assert.ok(!grant.format || !this.everCommitted, "I3: formatted after a commit");
    assert.ok(grant.format || disk.epoch >= this.record.epoch, "I5: an older disk");
    assert.equal(grant.nextEpoch, this.record.epoch + 1);
    this.record = grant.record;
    this.grants.set(who, grant);
    // What a holder has not written yet is void once another holds the lease, and it unseals the copy it was shown.
    for (const other of this.grants.keys()) if (other !== who) this.grants.delete(other);
    this.disk = disk;
  }

  write(who: number): void {
    const grant = this.grants.get(who);
    if (grant === undefined) return;
    const { uuid, nextEpoch } = grant;
    this.disk = {
      ...blank,
      state: "sealed",
      uuid,
      generation: 1,
      epoch: nextEpoch,
      headerDigest: "00".repeat(32),
    };
  }

  commit(who: number): void {
    const grant = this.grants.get(who);
    if (grant === undefined || this.disk.epoch !== grant.nextEpoch) return;
    const holder = String(who).repeat(64);
    try {
      const request = { holder, uuid: grant.uuid, epoch: grant.nextEpoch, now: this.now };
      const record = commitEpoch(this.record, request);
      assert.ok(record.epoch >= this.record.epoch, "I5: the epoch went back");
      assert.equal(record.epoch, this.disk.epoch);
      this.record = record;
      this.everCommitted = true;
    } catch (thrown) {
      assert.equal(asSealetError(thrown).code, "LEASE_LOST");
      assert.ok(!isLive(this.record.lease, this.now) || this.record.lease?.holder !== holder);
    }
  }
}

describe("Node record, any course of events", () => {
  it("I3 I5 I6 I10 one holder, no older disk, no format after a commit, and the true disk always opens", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 40, maxLength: 120 }), (events) => {
        const world = new World();
        for (const step of events) {
          if (step.kind === "unseal") world.unseal(step.machine, step.copy);
          else if (step.kind === "write") world.write(step.machine);
          else if (step.kind === "commit") world.commit(step.machine);
          else if (step.kind === "snapshot") world.copies.push(world.disk);
          else world.now += step.ms;
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("Node record, at its edges", () => {
  const uuid = "471434e5-5c44-4f7d-9488-2831ee4dbd15";
  const holder = "ab".repeat(32);
  const lease = { id: "00".repeat(16), holder, expires: 1000, committed: false };
  const held: NodeRecord = { ...fresh, disk: { state: "formatting", uuid }, lease };
  const grant = (record: NodeRecord, changes: Partial<PresentedDisk>) =>
    grantUnseal(record, {
      holder,
      disk: { ...blank, state: "sealed", uuid, generation: 1, epoch: 1, ...changes },
      now: 0,
      leaseMs: LEASE_MS,
      fresh: { leaseId: lease.id, uuid },
    });

  it("I5 opens a disk of the generation on record, neither older nor newer", () => {
    const record: NodeRecord = { ...held, disk: { state: "sealed", uuid }, generation: 2, epoch: 3 };
    for (const generation of [0, 1, 3])
      assert.throws(() => grant(record, { generation, epoch: 3 }), {
        code: "RELEASE_REFUSED",
        predicate: "disk.generation",
      });
    assert.equal(grant(record, { generation: 2, epoch: 3 }).format, false);
  });

  it("I5 opens no disk that says it was sealed before the first epoch", () => {
    assert.throws(() => grant(held, { epoch: 0 }), { code: "RELEASE_REFUSED", predicate: "disk.epoch" });
    assert.equal(grant(held, { epoch: 1 }).nextEpoch, 1);
  });

  it("I6 ends a lease at its time, for its holder as for others", () => {
    assert.equal(liveLease(held, holder, 999), lease);
    assert.throws(() => liveLease(held, holder, 1000), { code: "LEASE_LOST" });
  });

  it("I6 never shortens a lease that its holder may still count on", () => {
    const renewed = extendLease(held, { holder, leaseId: lease.id, now: 10, leaseMs: 20 });
    assert.equal(renewed.lease.expires, 1000);
    assert.equal(renewed.record.lease?.expires, 1000);
  });

  it("I3 commits nothing where a blank disk is expected", () => {
    const record: NodeRecord = { ...held, disk: { state: "expects-blank", uuid: "" } };
    assert.throws(() => commitEpoch(record, { holder, uuid: "", epoch: 1, now: 0 }), {
      code: "RELEASE_REFUSED",
      predicate: "disk.uuid",
    });
  });
});
