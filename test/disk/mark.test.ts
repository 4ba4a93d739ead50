/** The file system's own epoch, in two slots: which one counts, and that no torn one does. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { layMarks, readMark, writeMark } from "../../agent/disk/mark.ts";
import { sha256 } from "../../agent/disk/record.ts";

const UUID = "11111111-2222-4333-8444-555555555555";
const BYTES = 4096;

function blockOf(text: string): Buffer {
  const block = Buffer.alloc(BYTES);
  block.write(`${text} ${sha256(Buffer.from(`${text} `)).toString("hex")}\n`);
  return block;
}

describe("file system's mark", () => {
  let folder: string;
  const path = (slot: 0 | 1) => join(folder, `lib/sealet/epoch.${slot}`);
  const inodes = () => ([0, 1] as const).map((slot) => statSync(path(slot)).ino);
  const damage = { code: "FILESYSTEM_DAMAGED" };
  const markUpTo = async (epoch: bigint) => {
    for (let next = 2n; next <= epoch; next++) await writeMark(folder, { uuid: UUID, epoch: next });
  };
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sealet-mark-"));
    await layMarks(folder, { uuid: UUID, epoch: 1n });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is there from the format on: two files of a block, neither of which mkfs.ext4 takes for a hole", async () => {
    assert.deepEqual(await readMark(folder), { uuid: UUID, epoch: 1n, alone: false });
    for (const slot of [0, 1] as const) {
      assert.equal(statSync(path(slot)).size, BYTES);
      assert.notEqual(readFileSync(path(slot))[0], 0);
    }
  });

  it("is written in place, in turn: no file is made, none grows, and the mark before stays", async () => {
    const before = inodes();
    for (let epoch = 2n; epoch <= 12n; epoch++) {
      const kept = readFileSync(path(epoch % 2n === 0n ? 1 : 0));
      await writeMark(folder, { uuid: UUID, epoch });
      assert.deepEqual(await readMark(folder), { uuid: UUID, epoch, alone: false });
      assert.deepEqual(readFileSync(path(epoch % 2n === 0n ? 1 : 0)), kept);
    }
    assert.deepEqual(inodes(), before);
    assert.deepEqual(readdirSync(join(folder, "lib/sealet")).toSorted(), ["epoch.0", "epoch.1"]);
  });

  it("I10 torn at any byte, from either end, it is the mark before, and known to stand alone", async () => {
    // From 19 to 21: a 2 before a 9 would be 29.
    await markUpTo(20n);
    const old = readFileSync(path(1));
    await writeMark(folder, { uuid: UUID, epoch: 21n });
    const next = readFileSync(path(1));
    const used = next.indexOf(0);
    for (let cut = 0; cut <= used; cut++) {
      for (const [head, tail] of [
        [next, old],
        [old, next],
      ] as const) {
        const torn = Buffer.concat([head.subarray(0, cut), tail.subarray(cut)]);
        writeFileSync(path(1), torn);
        const whole = torn.equals(next) ? 21n : torn.equals(old) ? 19n : undefined;
        assert.deepEqual(await readMark(folder), {
          uuid: UUID,
          epoch: whole === 21n ? 21n : 20n,
          alone: whole === undefined,
        });
      }
    }
  });

  it("I10 torn, the same slot is written again", async () => {
    await markUpTo(3n);
    writeFileSync(path(0), Buffer.alloc(BYTES));
    assert.deepEqual(await readMark(folder), { uuid: UUID, epoch: 3n, alone: true });
    await writeMark(folder, { uuid: UUID, epoch: 4n });
    assert.deepEqual(await readMark(folder), { uuid: UUID, epoch: 4n, alone: false });
  });

  it("garbled: no slot that is not sealet's byte for byte counts as newer", async () => {
    await markUpTo(3n);
    const good = blockOf(`sealet 1 ${UUID} 4`);
    const garbled: readonly (readonly [string, Buffer])[] = [
      ["no checksum", Buffer.concat([Buffer.from(`sealet 1 ${UUID} 4\n`), Buffer.alloc(BYTES)])],
      ["another's checksum", Buffer.from(good.toString("latin1").replace(" 4 ", " 6 "), "latin1")],
      ["leading zero", blockOf(`sealet 1 ${UUID} 04`)],
      ["another version", blockOf(`sealet 2 ${UUID} 4`)],
      ["no uuid", blockOf("sealet 1 none 4")],
      ["data after it", Buffer.concat([good.subarray(0, BYTES - 1), Buffer.from([1])])],
      ["ones", Buffer.alloc(BYTES, 0xff)],
    ];
    for (const [what, bytes] of garbled) {
      writeFileSync(path(0), bytes.subarray(0, BYTES));
      assert.deepEqual(await readMark(folder), { uuid: UUID, epoch: 3n, alone: true }, what);
    }
    writeFileSync(path(0), good);
    assert.equal((await readMark(folder)).epoch, 4n);
  });

  it("I5 that no history of writes leaves is refused", async () => {
    await markUpTo(4n);
    const [even, odd] = [readFileSync(path(0)), readFileSync(path(1))];
    const refused: readonly (readonly [string, Buffer, Buffer])[] = [
      ["both torn", Buffer.alloc(BYTES), Buffer.alloc(BYTES, 1)],
      ["in each other's slot", odd, even],
      ["one in the other's slot", Buffer.alloc(BYTES), even],
      ["the same twice", even, even],
      ["three apart", blockOf(`sealet 1 ${UUID} 6`), odd],
      ["another file system's", blockOf(`sealet 1 ${UUID.replace("1", "2")} 4`), odd],
      ["short", even.subarray(0, 100), odd],
      ["long", Buffer.concat([even, Buffer.alloc(1)]), odd],
      ["empty", Buffer.alloc(0), odd],
    ];
    for (const [what, first, second] of refused) {
      writeFileSync(path(0), first);
      writeFileSync(path(1), second);
      await assert.rejects(readMark(folder), damage, what);
    }
    writeFileSync(path(0), even);
    rmSync(path(1));
    await assert.rejects(readMark(folder), damage);
  });

  it("that can't be written is an error of the disk, and makes no file", async () => {
    rmSync(path(0));
    await assert.rejects(writeMark(folder, { uuid: UUID, epoch: 2n }), { code: "DISK_IO" });
    assert.deepEqual(readdirSync(join(folder, "lib/sealet")), ["epoch.1"]);
  });

  it("lies in folders that others may enter, whatever the agent's umask", async () => {
    const seed = mkdtempSync(join(tmpdir(), "sealet-seed-"));
    const before = process.umask(0o077);
    try {
      await layMarks(seed, { uuid: UUID, epoch: 1n });
      for (const name of ["lib", "lib/sealet"]) assert.equal(statSync(join(seed, name)).mode & 0o7777, 0o755);
    } finally {
      process.umask(before);
      rmSync(seed, { recursive: true });
    }
  });
});
