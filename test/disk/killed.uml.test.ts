/** The agent is killed, or the disk fails, in the middle; the next agent of the same boot goes on. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import {
  createDevice,
  loadTable,
  removeDevice,
  resumeDevice,
  suspendDevice,
} from "../../native/device-mapper.ts";
import { kill } from "../uml/kill.ts";
import { agent, boot, keys, SIGNAL, TestDisk } from "./guest-disk.ts";

/** @returns whether it was still at work */
async function killed(path: string, epoch: bigint, milliseconds: number): Promise<boolean> {
  const script = new URL("victim.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, path, String(epoch)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  let said = "";
  child.stdout.on("data", (text: Buffer) => (said += text.toString()));
  while (!said.includes("begin") && child.exitCode === null) await sleep(1);
  await Promise.race([sleep(milliseconds), exit]);
  if (child.pid !== undefined && child.exitCode === null) kill(child.pid);
  await exit;
  return !said.includes("end");
}

describe("I10 state disk", function () {
  this.timeout(120_000);

  it("a first format whose agent is killed is done again by the next one", async () => {
    let interrupted = 0;
    for (const milliseconds of [5, 100, 250, 400]) {
      using disk = new TestDisk();
      if (await killed(disk.path, 1n, milliseconds)) interrupted++;
      const state = agent(disk);
      const { facts } = await state.inspect(SIGNAL);
      await state.unseal({ ...keys(1n), format: facts.state !== "sealed" }, SIGNAL);
      await state.mount(SIGNAL);
      await state.close(SIGNAL);
      await (await boot(disk, 2n)).close(SIGNAL);
      assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
    }
    assert.ok(interrupted >= 2, `only ${interrupted} were killed at work`);
  });

  it("an unseal whose agent is killed is done again by the next one", async () => {
    using disk = new TestDisk();
    await (await boot(disk, 1n)).close(SIGNAL);
    let epoch = 1n;
    for (const milliseconds of [1, 30, 70, 120]) {
      await killed(disk.path, epoch + 1n, milliseconds);
      const state = agent(disk);
      await state.inspect(SIGNAL);
      await state.unseal(keys(epoch + 1n), SIGNAL);
      epoch += 1n;
      await state.mount(SIGNAL);
      await state.close(SIGNAL);
    }
    assert.equal((await agent(disk).inspect(SIGNAL)).facts.epoch, epoch);
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
  });

  it("a first format that the disk fails in is reported, and done again on a disk that works", async () => {
    using disk = new TestDisk();
    const sectors = disk.bytes / 512;
    const linear = (start: number, end: number) => ({
      start,
      sectors: end - start,
      type: "linear",
      parameters: `${disk.path} ${start}`,
    });
    // dm-flakey: works for no time at all, then fails every write
    const flakey = {
      start: 4 * 2048,
      sectors: sectors - 4 * 2048,
      type: "flakey",
      parameters: `${disk.path} ${4 * 2048} 0 3600 1 error_writes`,
    };
    const { path } = await createDevice("bad", "TEST", [linear(0, 4 * 2048), flakey]);
    await assert.rejects(boot(path, 1n), { code: "DISK_IO" });
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
    assert.equal((await agent(path).inspect(SIGNAL)).facts.state, "interrupted");
    await loadTable("bad", [linear(0, sectors)]);
    await suspendDevice("bad", false);
    await resumeDevice("bad");
    await (await boot(path, 1n)).close(SIGNAL);
    await removeDevice("bad");
    await (await boot(disk, 2n)).close(SIGNAL);
  });

  it("an unseal that is called off leaves nothing open", async () => {
    using disk = new TestDisk();
    await (await boot(disk, 1n)).close(SIGNAL);
    const state = agent(disk);
    await state.inspect(SIGNAL);
    await assert.rejects(state.unseal(keys(2n), AbortSignal.abort()), { code: "CANCELLED" });
    assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
    await (await boot(disk, 2n)).close(SIGNAL);
  });
});
