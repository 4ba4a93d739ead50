import assert from "node:assert/strict";

import { blankRegions, nameContents } from "../../agent/disk/blank.ts";
import { classify, type Blankness } from "../../agent/disk/classify.ts";
import { geometryOf, MIN_DISK_BYTES } from "../../agent/disk/layout.ts";
import { bindingOf, encodeRecord, sha256, type SealRecord } from "../../agent/disk/record.ts";
import { SealetError } from "../../agent/error.ts";
import { area, header, JSON_AREA, repair, UUID } from "./header.ts";

const DISK = 1 << 30;
const HEADER = header();
const BLANK: Blankness = { blank: true };
const DATA: Blankness = { blank: false, offset: 1080, why: "headers" };

const record = (kind: "intent" | "sealed", epoch: bigint, changes: Partial<SealRecord> = {}): Buffer =>
  encodeRecord(
    {
      kind,
      uuid: UUID,
      generation: 1,
      epoch,
      binding: bindingOf("cluster", "node"),
      headerDigest: kind === "intent" ? Buffer.alloc(32) : sha256(HEADER),
      diskBytes: BigInt(DISK),
      geometry:
        kind === "intent" ? { regionSectors: 0, metadataSectors: 0, dataSectors: 0 } : geometryOf(2_000_000),
      initialised: false,
      ...changes,
    },
    kind === "intent" ? Buffer.alloc(0) : HEADER,
    Buffer.alloc(32, 7),
  );

const found = async (bytes: Buffer, blankness: Blankness = DATA, size = DISK): Promise<string> => {
  const finding = await classify(bytes, size, () => Promise.resolve(blankness));
  return "error" in finding ? `${finding.state} ${finding.error.code}` : finding.state;
};

describe("disk classification", () => {
  const slots = [record("intent", 0n), record("sealed", 1n)] as const;

  it("tells blank from foreign by the proof alone", async () => {
    assert.equal(await found(area({}), BLANK), "blank");
    assert.equal(await found(area({}), DATA), "foreign DISK_FOREIGN");
  });

  it("tells a first format that was cut, whatever it left in the header", async () => {
    assert.equal(await found(area({ slots: [record("intent", 0n)] })), "interrupted");
    const half = Buffer.concat([HEADER.subarray(0, 12_345), Buffer.alloc(HEADER.length - 12_345)]);
    assert.equal(await found(area({ header: half, slots: [record("intent", 0n)] })), "interrupted");
  });

  it("tells a sealed disk", async () => {
    assert.equal(await found(area({ header: HEADER, slots })), "sealed");
    assert.equal(await found(area({ header: HEADER, slots }), DATA, DISK * 2), "sealed");
  });

  it("tells damage: a copy, the records, the disk's size", async () => {
    for (const at of [5000, 16384 + 5000]) {
      const broken = Buffer.from(HEADER);
      broken.writeUInt8(0xff, at);
      assert.equal(await found(area({ header: broken, slots })), "damaged DISK_DAMAGED");
    }
    const torn = Buffer.from(slots[1]);
    torn.writeUInt8(1, 100);
    assert.equal(
      await found(area({ header: HEADER, slots: [Buffer.alloc(0), torn] })),
      "damaged DISK_DAMAGED",
    );
    assert.equal(await found(area({ header: HEADER })), "damaged DISK_DAMAGED");
    assert.equal(await found(area({ header: HEADER, slots }), DATA, DISK - 4096), "damaged DISK_DAMAGED");
    assert.equal(await found(area({ slots })), "damaged DISK_DAMAGED");
  });

  it("I4 tells tampering: profile, digest, uuid, slots", async () => {
    const nulled = structuredClone(JSON_AREA);
    nulled.segments["0"].encryption = "cipher_null-ecb";
    assert.equal(
      await found(area({ header: header(JSON.stringify(nulled)), slots })),
      "tampered HEADER_PROFILE",
    );
    const flipped = Buffer.from(HEADER);
    flipped.writeUInt8(1, 40_000);
    assert.equal(await found(area({ header: flipped, slots })), "tampered HEADER_TAMPERED");
    const salted = Buffer.from(HEADER);
    salted.writeUInt8(1, 110);
    repair(salted, 0);
    assert.equal(await found(area({ header: salted, slots })), "tampered HEADER_TAMPERED");
    assert.equal(
      await found(area({ header: HEADER, slots: [slots[1], slots[0]] })),
      "tampered HEADER_TAMPERED",
    );
    const renamed = record("sealed", 1n, { uuid: UUID.replace("4", "5") });
    assert.equal(
      await found(area({ header: HEADER, slots: [Buffer.alloc(0), renamed] })),
      "tampered HEADER_TAMPERED",
    );
  });
});

describe("disk classification, of what was not read", () => {
  it("I3 never takes it for blank: a proof that fails, an area that is cut", async () => {
    const failed = new SealetError("DISK_IO", "a sector can't be read");
    await assert.rejects(
      classify(area({}), DISK, () => Promise.reject(failed)),
      failed,
    );
    await assert.rejects(
      classify(area({}).subarray(0, -1), DISK, () => Promise.resolve(BLANK)),
      { code: "INTERNAL" },
    );
  });
});

describe("blank proof", () => {
  it("reads both ends, every place of a backup superblock, and samples; in order, once, inside the disk", () => {
    for (const size of [MIN_DISK_BYTES, DISK, 20 * 2 ** 30, 2 ** 40, 16 * 2 ** 40]) {
      const regions = blankRegions(size);
      let end = 0;
      for (const { offset, bytes } of regions) {
        assert.ok(offset >= end && bytes > 0);
        end = offset + bytes;
      }
      assert.equal(regions[0]?.offset, 0);
      assert.equal(end, size);
      assert.ok(regions.length < 400);
      const total = regions.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.ok(total < 40 * 2 ** 20);
    }
    const offsets = new Set(blankRegions(2 ** 40).map(({ offset }) => offset));
    for (const mib of [64, 128, 256 * 1024, 3 * 128, 24, 9 * 8, 81 * 8])
      assert.ok(offsets.has(mib * 2 ** 20), `${mib} MiB`);
  });

  it("I3 leaves no long stretch of a disk unread, however large that is", () => {
    for (const size of [DISK, 20 * 2 ** 30, 2 ** 40, 16 * 2 ** 40]) {
      const regions = blankRegions(size);
      const gaps = regions.map(({ offset }, i) => {
        const before = regions[i - 1];
        return before === undefined ? 0 : offset - before.offset - before.bytes;
      });
      assert.ok(Math.max(...gaps) < size / 200, `${Math.max(...gaps)} of ${size} bytes`);
    }
  });

  it("covers a disk that is smaller than what it would read", () => {
    assert.deepEqual(
      blankRegions(20 * 2 ** 20).map(({ offset, bytes }) => [offset, bytes]),
      [
        [0, 16 * 2 ** 20],
        [16 * 2 ** 20, 4 * 2 ** 20],
      ],
    );
  });

  it("names what people know", () => {
    const head = Buffer.alloc(131072);
    assert.equal(nameContents(head), undefined);
    head.writeUInt16LE(0xef53, 1080);
    assert.match(nameContents(head) ?? "", /ext4/);
  });
});
