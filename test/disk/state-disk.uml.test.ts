/** The state disk's life on a real kernel: first format, reboots, restarts of the agent, locking. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

import { findDevice, readTable, suspendDevice } from "../../native/device-mapper.ts";
import { agent, boot, keys, SIGNAL, TestDisk, UUID } from "./guest-disk.ts";

describe("state disk", function () {
  this.timeout(60_000);
  let disk: TestDisk;
  before(() => {
    disk = new TestDisk();
  });

  it("is formatted when it is blank and a format is ordered", async () => {
    const state = agent(disk);
    const begun = performance.now();
    const { facts, open } = await state.inspect(SIGNAL);
    assert.deepEqual([facts.state, facts.uuid, facts.epoch, open], ["blank", "", 0n, false]);
    const inspected = performance.now();
    await state.unseal(keys(1n), SIGNAL);
    const formatted = performance.now();
    console.log(
      `      inspect ${(inspected - begun).toFixed(0)} ms, format ${(formatted - inspected).toFixed(0)} ms`,
    );
    await state.mount(SIGNAL);
    writeFileSync("/run/state/data", "kept");
    assert.deepEqual(readdirSync("/run/state").toSorted(), ["data", "lib", "lost+found"]);
    const { initialised, ...rest } = await state.describe();
    assert.ok(initialised > 0 && initialised < 1);
    assert.deepEqual(
      [rest.state, rest.uuid, rest.epoch, rest.open, rest.mountPoint],
      ["sealed", UUID, 1n, true, "/run/state"],
    );
    await state.close(SIGNAL);
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
  });

  it("keeps its data over reboots, and counts them", async () => {
    for (const epoch of [2n, 3n, 4n]) {
      const state = agent(disk);
      const { facts } = await state.inspect(SIGNAL);
      assert.deepEqual([facts.state, facts.uuid, facts.epoch], ["sealed", UUID, epoch - 1n]);
      const begun = performance.now();
      await state.unseal(keys(epoch), SIGNAL);
      console.log(`      open ${(performance.now() - begun).toFixed(0)} ms`);
      await state.mount(SIGNAL);
      assert.equal(readFileSync("/run/state/data", "utf8"), "kept");
      await state.close(SIGNAL);
    }
  });

  it("is mounted without devices and set-user-ID, and its key is in the kernel's keyring", async () => {
    const state = await boot(disk, 5n);
    await state.mount(SIGNAL);
    const mounts = readFileSync("/proc/self/mounts", "utf8");
    assert.match(mounts, /^\S+ \/run\/state ext4 rw,nosuid,nodev,noatime,errors=remount-ro/m);
    assert.doesNotMatch(mounts, /staging/);
    const [crypt] = await readTable("sealet-state-crypt");
    assert.match(crypt?.parameters ?? "", /^capi:aegis128-random :16:logon:/);
  });

  it("is taken over by an agent that was killed and restarted", async () => {
    const state = agent(disk);
    const { facts, open } = await state.inspect(SIGNAL);
    assert.deepEqual([facts.state, facts.epoch, open], ["sealed", 5n, true]);
    await state.unseal(keys(6n), SIGNAL);
    assert.match(await state.mount(SIGNAL), /at \/run\/state/);
    assert.equal((await state.describe()).epoch, 6n);
    await assert.rejects(state.unseal(keys(7n), SIGNAL), /not inspected/);
  });

  it("I10 is not left waiting by an agent that was killed while devices changed places", async () => {
    await suspendDevice("sealet-state", true);
    const { open } = await agent(disk).inspect(SIGNAL);
    assert.equal(open, true);
    assert.equal((await findDevice("sealet-state"))?.suspended, false);
    assert.equal(readFileSync("/run/state/data", "utf8"), "kept");
  });

  it("locks: input and output wait, the key is gone from the kernel; and unlocks again", async () => {
    const state = agent(disk);
    await state.suspend();
    const [crypt] = await readTable("sealet-state-crypt");
    assert.match(crypt?.parameters ?? "", /^capi:aegis128-random 0{32} /);
    assert.equal((await findDevice("sealet-state"))?.suspended, true);
    await assert.rejects(state.close(SIGNAL), { code: "DISK_BUSY" });
    await state.suspend(); // again does no harm
    const { open } = await state.inspect(SIGNAL);
    assert.equal(open, true);
    await state.unseal(keys(7n), SIGNAL);
    assert.equal(readFileSync("/run/state/data", "utf8"), "kept");
    await state.close(SIGNAL);
    await state.close(SIGNAL); // does nothing to a closed disk
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
  });
});
