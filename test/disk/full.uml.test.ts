/** A state disk with no room left: the next boots unseal it nevertheless, so that kubelet can make room. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from "node:fs";

import { agent, boot, MIB, SIGNAL, TestDisk } from "./guest-disk.ts";

const MOUNT = "/run/state";

/** Until there is no room for one of it. */
function exhaust(step: (index: number) => void): number {
  for (let index = 0; ; index++) {
    try {
      step(index);
    } catch (thrown) {
      if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOSPC") return index;
      throw thrown;
    }
  }
}

function fill(): void {
  const path = `${MOUNT}/large`;
  assert.throws(() => execFileSync("/usr/bin/fallocate", ["-l", "1T", path], { stdio: "pipe" }), /No space/u);
  const file = openSync(path, "a");
  const block = Buffer.alloc(4096, 1);
  exhaust(() => writeSync(file, block));
  fsyncSync(file);
  closeSync(file);
}

function takeInodes(): number {
  return exhaust((index) => {
    const folder = `${MOUNT}/${Math.floor(index / 4096)}`;
    if (index % 4096 === 0) mkdirSync(folder);
    closeSync(openSync(`${folder}/${index}`, "wx"));
  });
}

/** For epochs of either parity. */
async function boots(disk: TestDisk, still: () => void): Promise<void> {
  for (const epoch of [2n, 3n, 4n]) {
    const state = await boot(disk, epoch);
    await state.mount(SIGNAL);
    still();
    await state.close(SIGNAL);
    assert.equal((await agent(disk).inspect(SIGNAL)).facts.epoch, epoch);
  }
}

describe("I10 full state disk", function () {
  this.timeout(180_000);

  it("without a free block, the reserve of root's used too, is unsealed for the next epochs", async () => {
    using disk = new TestDisk(256 * MIB);
    const state = await boot(disk, 1n);
    await state.mount(SIGNAL);
    fill();
    await state.close(SIGNAL);
    await boots(disk, () => {
      const file = openSync(`${MOUNT}/large`, "a");
      assert.throws(() => writeSync(file, Buffer.alloc(4096)), { code: "ENOSPC" });
      closeSync(file);
    });
  });

  it("without a free inode is unsealed for the next epochs", async () => {
    using disk = new TestDisk(256 * MIB);
    const state = await boot(disk, 1n);
    await state.mount(SIGNAL);
    console.log(`      ${takeInodes()} files`);
    await state.close(SIGNAL);
    await boots(disk, () => assert.throws(() => openSync(`${MOUNT}/file`, "wx"), { code: "ENOSPC" }));
  });

  it("has the marks in blocks of their own from its format on, in folders that others may enter", async () => {
    using disk = new TestDisk(256 * MIB);
    const before = process.umask(0o077);
    try {
      const state = await boot(disk, 1n);
      await state.mount(SIGNAL);
      for (const slot of [0, 1]) {
        const { size, blocks, mode } = statSync(`${MOUNT}/lib/sealet/epoch.${slot}`);
        assert.deepEqual([size, blocks, mode & 0o777], [4096, 8, 0o600]);
        assert.match(readFileSync(`${MOUNT}/lib/sealet/epoch.${slot}`, "latin1"), /^sealet 1 /u);
      }
      for (const folder of ["", "/lib", "/lib/sealet"])
        assert.equal(statSync(`${MOUNT}${folder}`).mode & 0o7777, 0o755, folder);
      await state.close(SIGNAL);
    } finally {
      process.umask(before);
    }
  });
});
