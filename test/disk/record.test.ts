import assert from "node:assert/strict";

import * as fc from "fast-check";

import {
  bindingOf,
  checkMac,
  currentRecord,
  encodeRecord,
  readSlot,
  RECORD,
  RECORD_BYTES,
  sha256,
  type SealRecord,
  type Slot,
  type StoredRecord,
} from "../../agent/disk/record.ts";
import { SealetError } from "../../agent/error.ts";
import { header, UUID } from "./header.ts";

const KEY = Buffer.alloc(32, 7);
const HEADER = header();

const sealed = (epoch: bigint, changes: Partial<SealRecord> = {}): SealRecord => ({
  kind: "sealed",
  uuid: UUID,
  generation: 1,
  epoch,
  binding: bindingOf("cluster", "node"),
  headerDigest: sha256(HEADER),
  diskBytes: 1n << 30n,
  geometry: { regionSectors: 128, metadataSectors: 4096, dataSectors: 2_000_000 },
  initialised: false,
  ...changes,
});
const intent = (changes: Partial<SealRecord> = {}): SealRecord =>
  sealed(0n, {
    kind: "intent",
    headerDigest: Buffer.alloc(32),
    geometry: { regionSectors: 0, metadataSectors: 0, dataSectors: 0 },
    ...changes,
  });

const block = (record: SealRecord, key = KEY): Buffer => {
  const bytes = Buffer.alloc(4096);
  encodeRecord(record, record.kind === "intent" ? Buffer.alloc(0) : HEADER, key).copy(bytes);
  return bytes;
};
const slot = (record: SealRecord): Slot => readSlot(block(record));
const stored = (bytes: Buffer): StoredRecord => {
  const read = readSlot(bytes);
  assert.ok(read.kind === "record");
  return read.record;
};
const EMPTY: Slot = { kind: "empty" };
const TORN: Slot = { kind: "torn", ours: true };
const tampered = { code: "HEADER_TAMPERED" };

describe("seal record", () => {
  it("is a table that tiles its 512 bytes", () => {
    let at = 0;
    for (const [field, offset, length] of RECORD) {
      assert.equal(offset, at, field);
      at += length;
    }
    assert.equal(at, RECORD_BYTES);
  });

  it("comes back as it was written", () => {
    for (const record of [intent(), sealed(1n), sealed(2n, { initialised: true, generation: 9 })]) {
      const { mac, signed, ...rest } = stored(block(record));
      assert.deepEqual(rest, record);
      assert.equal(mac.length + signed.length, 480);
      checkMac(stored(block(record)), record.kind === "intent" ? Buffer.alloc(0) : HEADER, KEY);
    }
  });

  it("I4 is refused under another key, another header, or a MAC of another record", () => {
    const record = stored(block(sealed(5n)));
    const changed = Buffer.from(HEADER);
    changed.writeUInt8(1, 200_000); // in the keyslot area
    assert.throws(() => checkMac(record, HEADER, Buffer.alloc(32, 8)), tampered);
    assert.throws(() => checkMac(record, changed, KEY), tampered);
    assert.throws(() => checkMac({ ...record, mac: stored(block(sealed(6n))).mac }, HEADER, KEY), tampered);
  });

  it("I4 no mutant is accepted, and none throws anything but an error of ours", () => {
    const good = block(sealed(5n));
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4095 }),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (at, flip, repaired) => {
          const bytes = Buffer.from(good);
          bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
          if (repaired) sha256(bytes.subarray(0, 480)).copy(bytes, 480);
          try {
            const read = readSlot(bytes);
            if (read.kind === "record") checkMac(read.record, HEADER, KEY);
            assert.ok(read.kind === "torn" || (repaired && at >= 480 && at < 512), `byte ${at}`);
          } catch (thrown) {
            assert.ok(thrown instanceof SealetError && thrown.code === "HEADER_TAMPERED", String(thrown));
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("of the higher epoch counts", () => {
    const read = currentRecord([slot(sealed(4n)), slot(sealed(3n))]);
    assert.equal(read.kind === "record" && read.record.epoch, 4n);
    const next = currentRecord([slot(sealed(4n)), slot(sealed(5n))]);
    assert.equal(next.kind === "record" && next.record.epoch, 5n);
    const first = currentRecord([slot(intent()), slot(sealed(1n))]);
    assert.equal(first.kind === "record" && first.record.kind, "sealed");
  });

  it("I10 leaves the one before it where its own writing was cut", () => {
    const cut = currentRecord([TORN, slot(sealed(3n))]);
    assert.equal(cut.kind === "record" && cut.record.epoch, 3n);
    const format = currentRecord([slot(intent()), TORN]);
    assert.equal(format.kind === "record" && format.record.kind, "intent");
  });

  it("is none, or damaged, where there is no whole one", () => {
    assert.equal(currentRecord([EMPTY, EMPTY]).kind, "none");
    assert.equal(currentRecord([{ kind: "torn", ours: false }, EMPTY]).kind, "none");
    assert.equal(currentRecord([TORN, EMPTY]).kind, "damaged");
    assert.equal(currentRecord([TORN, TORN]).kind, "damaged");
  });

  it("I5 is refused in a slot, or beside a record, where no history of writes leaves it", () => {
    const other = "00000000-0000-4000-8000-000000000000";
    const impossible: readonly (readonly [Slot, Slot])[] = [
      [slot(sealed(3n)), slot(sealed(4n))], // swapped
      [EMPTY, slot(sealed(2n))],
      [slot(sealed(2n)), slot(sealed(5n))], // one is older than its last writing
      [slot(sealed(2n)), slot(sealed(3n, { uuid: other }))],
      [slot(sealed(2n)), slot(sealed(3n, { binding: bindingOf("cluster", "other") }))],
      [slot(sealed(2n, { generation: 2 })), slot(sealed(3n, { generation: 1 }))],
      [slot(intent()), slot(sealed(3n))],
    ];
    for (const slots of impossible) assert.throws(() => currentRecord(slots), tampered);
  });

  it("I5 is refused with an epoch, kind or size that sealet never writes", () => {
    for (const record of [sealed(0n), intent({ epoch: 2n }), intent({ geometry: sealed(1n).geometry })]) {
      assert.throws(() => readSlot(block(record)), tampered);
    }
  });

  it("I4 is refused where a single field, under a right checksum, is not what sealet writes", () => {
    const fields: readonly (readonly [string, (bytes: Buffer) => unknown])[] = [
      ["version 0", (bytes) => bytes.writeUInt16LE(0, 8)],
      ["version 2", (bytes) => bytes.writeUInt16LE(2, 8)],
      ["kind 0", (bytes) => bytes.writeUInt8(0, 10)],
      ["kind 3", (bytes) => bytes.writeUInt8(3, 10)],
      ["initialised 2", (bytes) => bytes.writeUInt8(2, 11)],
      ["an impossible size", (bytes) => bytes.writeBigUInt64LE(2n ** 53n, 112)],
      ["a reserved byte", (bytes) => bytes.writeUInt8(1, 447)],
    ];
    for (const [what, edit] of fields) {
      const bytes = block(sealed(5n));
      edit(bytes);
      sha256(bytes.subarray(0, 480)).copy(bytes, 480);
      assert.throws(() => readSlot(bytes), tampered, what);
    }
  });

  it("binds cluster and node apart", () => {
    assert.notDeepEqual(bindingOf("a", "bc"), bindingOf("ab", "c"));
  });
});
