/** dm-clone over dm-crypt: nothing waits for a wipe, and yet every sector can be read, at any time. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

import { findDevice, readTable } from "../../native/device-mapper.ts";
import { agent, boot, keys, SIGNAL, TestDisk } from "./guest-disk.ts";

const top = async () => (await findDevice("sealet-state"))?.path ?? "none";

const dd = (...args: readonly string[]) =>
  execFileSync("/usr/bin/dd", args, { stdio: "pipe", maxBuffer: 2 ** 25 });
const readAll = async () => dd(`if=${await top()}`, "of=/dev/null", "bs=1M", "iflag=direct");

describe("state disk's initialisation", function () {
  this.timeout(60_000);
  let disk: TestDisk;
  before(() => {
    disk = new TestDisk();
  });

  it("is not needed to read what was never written: zeros at once", async () => {
    const state = await boot(disk, 1n);
    await state.mount(SIGNAL);
    await readAll();
    const middle = dd(`if=${await top()}`, "bs=1M", "iflag=direct", "skip=200", "count=16");
    const crypt = await findDevice("sealet-state-crypt");
    assert.ok(middle.equals(Buffer.alloc(16 * 2 ** 20)));
    // Without dm-clone in between the same sectors fail: this is what it is for.
    assert.throws(
      () => dd(`if=${crypt?.path}`, "of=/dev/null", "bs=4k", "count=1", "skip=70000", "iflag=direct"),
      /Invalid or incomplete multibyte/, // EILSEQ
    );
    await state.close(SIGNAL);
  });

  it("is not skipped by discards: they are refused, by the file system and the device", async () => {
    const state = await boot(disk, 2n);
    await state.mount(SIGNAL);
    const refused = /not supported/i;
    assert.throws(() => execFileSync("/usr/sbin/fstrim", ["/run/state"], { stdio: "pipe" }), refused);
    const path = await top();
    const discard = () =>
      execFileSync("/usr/sbin/blkdiscard", ["-f", "-o", "134217728", "-l", "1048576", path], {
        stdio: "pipe",
      });
    assert.throws(discard, refused);
    await readAll();
    await state.close(SIGNAL);
  });

  it("stops when it is told to, and goes on at the next boot where it stopped", async () => {
    const state = await boot(disk, 3n);
    await state.mount(SIGNAL);
    const begun = (await state.describe()).initialised;
    const stop = new AbortController();
    await state.initialise(stop.signal, ({ done, total }) => {
      if (done / total > begun) stop.abort();
    });
    const { initialised } = await state.describe();
    assert.ok(initialised > begun && initialised < 1, `${begun} to ${initialised}`);
    await state.close(SIGNAL);
    const next = await boot(disk, 4n);
    assert.ok((await next.describe()).initialised >= initialised);
    await next.close(SIGNAL);
  });

  it("ends with dm-clone gone from under the mounted file system, and stays so over a reboot", async () => {
    const state = await boot(disk, 5n);
    await state.mount(SIGNAL);
    writeFileSync("/run/state/before", "kept");
    const seen: number[] = [];
    await state.initialise(SIGNAL, ({ done, total }) => seen.push(done / total));
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
    assert.equal((await state.describe()).initialised, 1);
    assert.deepEqual(
      (await readTable("sealet-state")).map(({ type }) => type),
      ["linear"],
    );
    assert.equal(readFileSync("/run/state/before", "utf8"), "kept");
    await readAll();
    await state.initialise(SIGNAL); // nothing to do
    await state.close(SIGNAL);
    // This unseal finds it done and records it, the next one does without dm-clone.
    for (const epoch of [6n, 7n]) {
      const next = agent(disk);
      await next.inspect(SIGNAL);
      await next.unseal(keys(epoch), SIGNAL);
      assert.equal((await next.describe()).initialised, 1);
      await readAll();
      await next.mount(SIGNAL);
      assert.equal(readFileSync("/run/state/before", "utf8"), "kept");
      await next.close(SIGNAL);
    }
    assert.equal(disk.read(3.5 * 2 ** 20, 512).readUInt8(11), 1, "the record says so");
  });
});

const debugfs = async (request: string) =>
  execFileSync("/usr/sbin/debugfs", ["-w", "-R", request, await top()], { stdio: "pipe" });

describe("state disk's file system", function () {
  this.timeout(60_000);
  it("marked as faulty is checked; what loses data to repair is refused and left as it is", async () => {
    using disk = new TestDisk();
    const state = await boot(disk, 1n);
    await state.mount(SIGNAL);
    writeFileSync("/run/state/file", "kept");
    execFileSync("/usr/bin/umount", ["/run/state"]);
    await debugfs("set_super_value state 2"); // EXT2_ERROR_FS
    await state.close(SIGNAL);

    const repaired = await boot(disk, 2n);
    await repaired.mount(SIGNAL);
    assert.equal(readFileSync("/run/state/file", "utf8"), "kept");
    execFileSync("/usr/bin/umount", ["/run/state"]);
    await debugfs("clri /lib");
    await debugfs("set_super_value state 2");
    await repaired.close(SIGNAL);

    await assert.rejects(boot(disk, 3n), { code: "FILESYSTEM_DAMAGED" });
    assert.equal(await top(), "none");
    assert.equal((await agent(disk).inspect(SIGNAL)).facts.epoch, 2n);
  });

  for (const slot of [0, 1]) {
    it(`I5 without one of its two epochs (${slot}) is refused`, async () => {
      using disk = new TestDisk();
      const state = await boot(disk, 1n);
      await state.mount(SIGNAL);
      execFileSync("/usr/bin/rm", [`/run/state/lib/sealet/epoch.${slot}`]);
      await state.close(SIGNAL);
      await assert.rejects(boot(disk, 2n), { code: "FILESYSTEM_DAMAGED" });
      assert.equal(await top(), "none");
    });
  }

  it("I5 I10 with its newer epoch torn: the one before counts, for the record of its time only", async () => {
    using disk = new TestDisk();
    await (await boot(disk, 1n)).close(SIGNAL);
    const slot = disk.read(3 * 2 ** 20, 4096);
    const state = await boot(disk, 2n);
    await state.mount(SIGNAL);
    const path = "/run/state/lib/sealet/epoch.0";
    writeFileSync(path, readFileSync(path).fill(0x39, 48, 52), { flag: "r+" });
    await state.close(SIGNAL);
    await assert.rejects(boot(disk, 3n), { code: "DISK_ROLLED_BACK", found: /epoch 1, and a torn one$/u });
    assert.equal(await top(), "none");
    disk.write(3 * 2 ** 20, slot);
    const again = await boot(disk, 2n); // as after a cut between mark and record
    await again.close(SIGNAL);
    await (await boot(disk, 3n)).close(SIGNAL);
  });
});
