/** Locking when something is in the way: the key leaves dm-crypt in any case, and nothing stays behind for good. */
import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, writeFileSync, writeSync } from "node:fs";

import { unmount } from "../../native/mount.ts";
import {
  createDevice,
  findDevice,
  loadTable,
  readTable,
  removeDevice,
  resumeDevice,
  suspendDevice,
  type Target,
} from "../../native/device-mapper.ts";
import { agent, boot, keys, SIGNAL, TestDisk } from "./guest-disk.ts";

const NO_KEY = /^capi:aegis128-random 0{32} /u;
const keyInTable = async () => (await readTable("sealet-state-crypt"))[0]?.parameters ?? "";

async function exchange(name: string, target: Target): Promise<void> {
  await loadTable(name, [target]);
  await suspendDevice(name, false);
  await resumeDevice(name);
}

describe("I2 locked state disk", function () {
  this.timeout(60_000);

  it("suspended and mounted nowhere is closed; the next boot opens it", async () => {
    using disk = new TestDisk();
    const state = await boot(disk, 1n);
    await state.mount(SIGNAL);
    await state.suspend();
    await assert.rejects(state.close(SIGNAL), { code: "DISK_BUSY" });
    await state.inspect(SIGNAL);
    await state.unseal(keys(2n), SIGNAL);
    await unmount("/run/state");
    await state.suspend();
    assert.match(await keyInTable(), NO_KEY);
    await state.close(SIGNAL);
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
    await (await boot(disk, 3n)).close(SIGNAL);
  });

  it("suspended, and open in a program that has unmounted it lazily, is not taken from under it", async () => {
    using disk = new TestDisk();
    const state = await boot(disk, 1n);
    await state.mount(SIGNAL);
    writeFileSync("/run/state/file", "kept");
    const file = openSync("/run/state/file", "r");
    await unmount("/run/state", "DETACH");
    await state.suspend();
    await assert.rejects(state.close(SIGNAL), { code: "DISK_BUSY" });
    await state.inspect(SIGNAL);
    await assert.rejects(state.unseal(keys(2n), SIGNAL), { code: "DISK_IO" }); // resumed; e2fsck finds it in use
    closeSync(file);
    await state.close(SIGNAL);
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
  });

  it("I9 that fails every write, with data still to be written, loses its key nevertheless", async () => {
    using disk = new TestDisk();
    const sectors = disk.bytes / 512;
    const under = (type: string, more = ""): Target => {
      return { start: 0, sectors, type, parameters: `${disk.path} 0${more}` };
    };
    const { path } = await createDevice("bad", "TEST", [under("linear")]);
    const state = await boot(path, 1n);
    await state.mount(SIGNAL);
    const file = openSync("/run/state/file", "w");
    writeSync(file, Buffer.alloc(65_536, 1));
    await exchange("bad", under("flakey", " 0 3600 1 error_writes"));
    await state.suspend();
    assert.match(await keyInTable(), NO_KEY);
    assert.equal((await findDevice("sealet-state"))?.suspended, true);
    assert.equal((await findDevice("sealet-state-crypt"))?.suspended, true);
    await assert.rejects(state.close(SIGNAL), { code: "DISK_BUSY" });

    await exchange("bad", under("linear"));
    const next = agent(path);
    await next.inspect(SIGNAL);
    await next.unseal(keys(2n), SIGNAL).catch(() => undefined); // its journal was aborted
    closeSync(file);
    await next.close(SIGNAL);
    await (await boot(path, 2n)).close(SIGNAL);
    await removeDevice("bad");
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
  });
});
