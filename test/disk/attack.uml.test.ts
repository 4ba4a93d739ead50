/**
 * What a hostile host or a careless operator does to the state disk. Each ends in its code, with nothing open and, where
 * the disk is refused before it is opened, with not one byte written.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from "node:fs";

import { sha256 } from "../../agent/disk/record.ts";
import type { Code } from "../../agent/error.ts";
import { createDevice, removeDevice } from "../../native/device-mapper.ts";
import { agent, boot, keys, MIB, SIGNAL, TestDisk, UUID } from "./guest-disk.ts";
import { repair } from "./header.ts";

const SIZE = 288 * MIB;
const SLOTS = [3 * MIB, 3.5 * MIB] as const;
const FILE_BYTES = 48 * MIB;

/** Refused with this code; nothing written, nothing open. */
async function refused(disk: TestDisk, code: Code, attempt: () => Promise<unknown>): Promise<void> {
  const before = disk.written();
  await assert.rejects(attempt(), { code });
  assert.equal(disk.written(), before, "the disk was written to");
  assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
}

describe("I3 I4 I5 state disk under attack", function () {
  this.timeout(120_000);
  let disk: TestDisk;
  /** Some of the file's data on the disk. */
  let fileAt: { readonly offset: number; readonly bytes: number };

  before(async () => {
    disk = new TestDisk(SIZE);
    const first = await boot(disk, 1n);
    await first.mount(SIGNAL);
    disk.save("empty");
    writeFileSync("/run/state/file", Buffer.alloc(FILE_BYTES, 1));
    await first.close(SIGNAL);
    disk.save("epoch1");
    fileAt = longestChange(`${disk.file}.empty`, `${disk.file}.epoch1`);
    for (const epoch of [2n, 3n]) await (await boot(disk, epoch)).close(SIGNAL);
    disk.save("sealed");
  });
  beforeEach(() => {
    disk.restore("sealed");
  });

  const header = () => disk.read(0, 32768);
  /** Replaces text in both JSON areas and repairs the checksums, as an attacker can. */
  const rewrite = (from: string, to: string) => {
    const bytes = header();
    for (const index of [0, 1] as const) {
      const json = bytes.subarray(index * 16384 + 4096, (index + 1) * 16384);
      const text = json.toString("latin1").replace(from, to).replaceAll("\0", "");
      json.fill(0).write(text, "latin1");
      repair(bytes, index);
    }
    assert.notDeepEqual(bytes, header(), `${from} is not in the header`);
    disk.write(0, bytes);
  };

  it("cipher_null in a header with repaired checksums", async () => {
    rewrite('"encryption":"aegis128-random"', '"encryption":"cipher_null-ecb"');
    await refused(disk, "HEADER_PROFILE", () => boot(disk, 4n));
  });

  it("cipher_null, though record and checksum are the attacker's too", async () => {
    rewrite('"encryption":"aegis128-random"', '"encryption":"cipher_null-ecb"');
    const slot = disk.read(SLOTS[1], 512);
    sha256(disk.read(0, 294912)).copy(slot, 72);
    sha256(slot.subarray(0, 480)).copy(slot, 480);
    disk.write(SLOTS[1], slot);
    await refused(disk, "HEADER_PROFILE", () => boot(disk, 4n));
  });

  it("another salt, within the profile, with record and checksums repaired: the MAC tells", async () => {
    const json = header().toString("latin1", 4096);
    const salt = /"salt":"(.)/.exec(json)?.[0] ?? "";
    rewrite(salt, salt.endsWith("A") ? `${salt.slice(0, -1)}B` : `${salt.slice(0, -1)}A`);
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 4n));
    const slot = disk.read(SLOTS[1], 512);
    sha256(disk.read(0, 294912)).copy(slot, 72);
    sha256(slot.subarray(0, 480)).copy(slot, 480);
    disk.write(SLOTS[1], slot);
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 4n));
  });

  it("damaged primary header", async () => {
    disk.write(0, Buffer.alloc(4096, 0xee));
    await refused(disk, "DISK_DAMAGED", () => boot(disk, 4n));
  });

  it("damaged secondary header", async () => {
    disk.flip(16384 + 5000);
    await refused(disk, "DISK_DAMAGED", () => boot(disk, 4n));
  });

  it("keyslot area flipped", async () => {
    disk.flip(40_000);
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 4n));
  });

  it("swapped record slots", async () => {
    const [first, second] = SLOTS.map((offset) => disk.read(offset, 4096));
    assert.ok(first !== undefined && second !== undefined);
    disk.write(SLOTS[0], second);
    disk.write(SLOTS[1], first);
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 4n));
  });

  it("newest record destroyed: the one before it is too old", async () => {
    disk.write(SLOTS[1], Buffer.alloc(4096));
    await refused(disk, "DISK_ROLLED_BACK", () => boot(disk, 4n));
  });

  it("both records destroyed", async () => {
    for (const offset of SLOTS) disk.write(offset, Buffer.alloc(4096, 0x5a));
    await refused(disk, "DISK_DAMAGED", () => boot(disk, 4n));
  });

  it("a record with a higher epoch, its checksum repaired: the MAC tells", async () => {
    const slot = disk.read(SLOTS[1], 512);
    slot.writeBigUInt64LE(5n, 16);
    sha256(slot.subarray(0, 480)).copy(slot, 480);
    disk.write(SLOTS[1], slot);
    disk.write(SLOTS[0], Buffer.alloc(4096));
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 6n));
  });

  it("an old snapshot of the whole disk", async () => {
    disk.restore("epoch1");
    await refused(disk, "DISK_ROLLED_BACK", () => boot(disk, 4n));
  });

  it("old data under a fresh header", async () => {
    const area = disk.read(0, 4 * MIB);
    disk.restore("epoch1");
    disk.write(0, area);
    await assert.rejects(boot(disk, 4n), { code: "DISK_ROLLED_BACK" });
    assert.deepEqual(disk.read(0, 4 * MIB), area, "the header area was written to");
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
  });

  it("a header from before its format was done, for a disk that the KMS knows sealed", async () => {
    disk.write(SLOTS[1], Buffer.alloc(4096));
    disk.write(SLOTS[0], intentOf());
    await refused(disk, "DISK_ROLLED_BACK", () => boot(disk, 4n));
    // A KMS that had lost its record and ordered a format: the intent's MAC is another key's.
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 1n, { headerMacKey: Buffer.alloc(32, 9) }));
    await refused(disk, "DISK_UNEXPECTED", () => boot(disk, 1n, { uuid: UUID.replace("1", "2") }));
  });

  /** The intent record as the first format wrote it: still in slot 0 after the first boot. */
  const intentOf = () => {
    const copy = readFileSync(`${disk.file}.epoch1`).subarray(SLOTS[0], SLOTS[0] + 4096);
    return Buffer.from(copy);
  };

  it("another node's disk", async () => {
    const other = agent(disk, { node: "node-2" });
    await refused(disk, "DISK_UNEXPECTED", () => other.inspect(SIGNAL));
  });

  it("another disk of this node than the KMS knows", async () => {
    await refused(disk, "DISK_UNEXPECTED", () => boot(disk, 4n, { uuid: UUID.replace("1", "2") }));
  });

  it("a format ordered for a sealed disk", async () => {
    await refused(disk, "DISK_UNEXPECTED", () => boot(disk, 1n));
  });

  it("a wrong disk key", async () => {
    await refused(disk, "DISK_KEY_REFUSED", () => boot(disk, 4n, { diskKey: Buffer.alloc(32, 1) }));
  });

  it("a wrong MAC key", async () => {
    await refused(disk, "HEADER_TAMPERED", () => boot(disk, 4n, { headerMacKey: Buffer.alloc(32, 1) }));
  });

  it("the disk of a known node, blanked", async () => {
    disk.blank();
    await refused(disk, "DISK_BLANKED", () => boot(disk, 4n));
  });

  it("a disk that became shorter", async () => {
    disk.truncate(SIZE - 16 * MIB);
    await refused(disk, "DISK_DAMAGED", () => boot(disk, 4n));
  });

  it("a tiny disk", async () => {
    disk.truncate(64 * MIB);
    await refused(disk, "DISK_TOO_SMALL", () => boot(disk, 1n));
  });

  it("no disk, or no disk of that serial", async () => {
    await assert.rejects(boot("/dev/none", 4n), { code: "DISK_MISSING" });
    await assert.rejects(agent(disk, { disk: { serial: "none" } }).inspect(SIGNAL), { code: "DISK_MISSING" });
    const { facts } = await agent(disk, { disk: { serial: "scratch0" } }).inspect(SIGNAL);
    assert.equal(facts.state, "blank");
  });

  const foreign: readonly (readonly [string, (path: string) => void])[] = [
    ["ext4", (path) => run("/usr/sbin/mkfs.ext4", "-q", "-F", path)],
    ["swap", (path) => run("/usr/sbin/mkswap", path)],
    ["LUKS1", (path) => format(path, "luks1")],
    ["somebody's LUKS2", (path) => format(path, "luks2")],
    ["a GPT", () => disk.write(512, Buffer.from("EFI PART"))],
    ["LVM", () => disk.write(512, Buffer.from("LABELONE"))],
    ["an MBR", () => disk.write(510, Buffer.from([0x55, 0xaa]))],
    ["a btrfs copy in the middle", () => disk.write(64 * MIB + 64, Buffer.from("_BHRfS_M"))],
    ["a RAID superblock at the end", () => disk.write(SIZE - 65536, Buffer.from([0xfc, 0x4e, 0x2b, 0xa9]))],
    ["one byte at the first MiB's end", () => disk.write(MIB - 1, Buffer.from([1]))],
    ["one byte at the first 16 MiB's end", () => disk.write(16 * MIB - 1, Buffer.from([1]))],
    ["one byte in the last sector", () => disk.write(SIZE - 1, Buffer.from([1]))],
  ];
  for (const [name, write] of foreign) {
    it(`a foreign disk: ${name}`, async () => {
      disk.blank();
      write(disk.path);
      await refused(disk, "DISK_FOREIGN", () => boot(disk, 1n));
    });
  }

  it("a header exchanged after it was read: the copy in memory is what is opened", async () => {
    const state = agent(disk);
    await state.inspect(SIGNAL);
    const file = await open(disk.path, "r+");
    await file.write(Buffer.alloc(294912), 0, 294912, 0);
    await file.sync();
    await file.close();
    await state.unseal(keys(4n), SIGNAL);
    await state.mount(SIGNAL);
    assert.equal(readFileSync("/run/state/file").length, FILE_BYTES);
    await state.close(SIGNAL);
  });

  it("a blank disk exchanged for one with data after it was inspected", async () => {
    disk.blank();
    const state = agent(disk);
    await state.inspect(SIGNAL);
    disk.write(100 * MIB, Buffer.from("data")); // in no region of the proof
    disk.write(8 * MIB, Buffer.from("data"));
    await refused(disk, "DISK_FOREIGN", () => state.unseal(keys(1n), SIGNAL));
  });

  it("a disk that cannot be read, in its header or where a blank one is proven", async () => {
    for (const sector of [0, 100, 8191, 16000, SIZE / 512 - 1]) {
      disk.blank();
      const linear = (start: number, end: number) => ({
        start,
        sectors: end - start,
        type: "linear",
        parameters: `${disk.path} ${start}`,
      });
      const { path } = await createDevice("bad", "TEST", [
        ...(sector > 0 ? [linear(0, sector)] : []),
        { start: sector, sectors: 1, type: "error", parameters: "" },
        ...(sector + 1 < SIZE / 512 ? [linear(sector + 1, SIZE / 512)] : []),
      ]);
      const before = disk.written();
      await assert.rejects(boot(path, 1n), { code: "DISK_IO" });
      assert.equal(disk.written(), before);
      await removeDevice("bad");
    }
  });

  it("a disk that something else uses", async () => {
    const holder = await open(disk.path, constants.O_RDONLY | constants.O_EXCL);
    await refused(disk, "DISK_BUSY", () => boot(disk, 4n));
    await holder.close();
    const other = await boot(disk, 4n);
    await assert.rejects(agent(disk, { name: "second" }).inspect(SIGNAL), { code: "DISK_BUSY" });
    await other.close(SIGNAL);
  });

  it("two agents that both saw the disk blank", async () => {
    disk.blank();
    const [first, second] = [agent(disk), agent(disk, { name: "second" })];
    await first.inspect(SIGNAL);
    await second.inspect(SIGNAL);
    await first.unseal(keys(1n), SIGNAL);
    await assert.rejects(second.unseal(keys(1n), SIGNAL), { code: "DISK_BUSY" });
    await first.close(SIGNAL);
    await assert.rejects(second.unseal(keys(1n), SIGNAL), { code: "INTERNAL" }); // has to inspect again
    assert.equal((await agent(disk).inspect(SIGNAL)).facts.state, "sealed");
  });

  it("data flipped: reading it fails, and the rest stays readable", async () => {
    assert.ok(fileAt.bytes >= 4 * MIB);
    disk.flip(fileAt.offset + fileAt.bytes / 2);
    const state = await boot(disk, 4n);
    await state.mount(SIGNAL);
    assert.throws(() => readFileSync("/run/state/file"), { code: "EIO" });
    assert.throws(
      () =>
        execFileSync("/usr/bin/dd", ["if=/run/state/file", "of=/dev/null", "bs=1M", "iflag=direct"], {
          stdio: "pipe",
        }),
      /Invalid or incomplete multibyte/, // EILSEQ
    );
    writeFileSync("/run/state/other", "fine");
    await state.close(SIGNAL);
  });
});

function run(program: string, ...args: readonly string[]): void {
  execFileSync(program, args, { stdio: "pipe" });
}

function format(path: string, type: string): void {
  const options = [
    "--batch-mode",
    "--pbkdf",
    "pbkdf2",
    "--pbkdf-force-iterations",
    "1000",
    "--key-file",
    "/dev/zero",
  ];
  run("/usr/sbin/cryptsetup", "luksFormat", "--type", type, ...options, "--keyfile-size", "32", path);
}

const CHUNK = 64 * 1024;

/** Where two files differ for the longest stretch. */
function longestChange(one: string, other: string): { readonly offset: number; readonly bytes: number } {
  const [a, b] = [openSync(one, "r"), openSync(other, "r")];
  const [first, second] = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)];
  let [start, best] = [0, { offset: 0, bytes: 0 }];
  for (let at = 0; ; at += CHUNK) {
    const read = readSync(a, first, 0, CHUNK, at);
    readSync(b, second, 0, CHUNK, at);
    if (read > 0 && !first.equals(second)) continue;
    if (at - start > best.bytes) best = { offset: start, bytes: at - start };
    start = at + CHUNK;
    if (read === 0) break;
  }
  closeSync(a);
  closeSync(b);
  return best;
}
