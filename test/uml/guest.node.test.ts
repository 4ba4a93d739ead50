/** What the host sees of a guest: that it ends as it should, and leaves nothing behind. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGuest } from "./guest.ts";
import { openTap } from "./tap.ts";

/** Kernels and helpers of a guest that still run, found by its folder on their command line. */
function processesOf(folder: string): string {
  const { stdout } = spawnSync("ps", ["-eo", "pid=,stat=,args="], { encoding: "utf8" });
  return stdout
    .split("\n")
    .filter((line) => line.includes(`guest_folder=/host${folder}`) && !/^\s*\d+ Z/u.test(line))
    .join("\n");
}

describe("a user-mode Linux guest", function () {
  this.timeout(120_000);

  it("powers off by itself and hands files back", async () => {
    await using guest = await startGuest({
      script: 'echo "$WORD" > /guest/word; power_off',
      env: { WORD: "it's $HOME" },
      timeout: 60_000,
    });
    assert.equal((await guest.ended).how, "power-off");
    assert.equal(readFileSync(join(guest.folder, "word"), "utf8"), "it's $HOME\n");
  });

  it("tells a panic from a power-off", async () => {
    await using guest = await startGuest({ script: "exit 3", timeout: 60_000 });
    const end = await guest.ended;
    assert.equal(end.how, "panic");
    assert.match(end.console, /Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300/u);
  });

  it("is killed when its time is over, with every process of it", async () => {
    await using guest = await startGuest({ script: "sleep 1000 & sleep 1000", timeout: 3000 });
    assert.equal((await guest.ended).how, "timeout");
    assert.equal(processesOf(guest.folder), "");
  });

  it("does not outlive the process that started it", async () => {
    const source = `
      import { startGuest } from "${join(import.meta.dirname, "guest.ts")}";
      const guest = await startGuest({ script: "echo up; sleep 1000 & sleep 1000", timeout: 60_000 });
      await guest.console.waitFor(/up/, 20_000);
      console.log(guest.folder);
      process.kill(process.pid, "SIGKILL");`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", source], {
      encoding: "utf8",
    });
    const folder = stdout.trim();
    assert.match(folder, /sealet-guest-/u);
    await new Promise((done) => setTimeout(done, 500));
    assert.equal(processesOf(folder), "");
    rmSync(folder, { recursive: true });
  });

  it("reads and writes its disks, and loses what it had not synced in a power cut of its own kernel", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sealet-test-"));
    const path = join(folder, "disk");
    writeFileSync(path, "");
    truncateSync(path, 64 << 20);
    const script = [
      "printf synced | dd of=/dev/ubdb conv=notrunc,fsync 2>/dev/null",
      "printf unsynced | dd of=/dev/ubdb bs=4096 seek=1 conv=notrunc 2>/dev/null",
      "echo written; sleep 100",
    ].join("\n");
    await using guest = await startGuest({ script, disks: [{ path, serial: "state" }], timeout: 60_000 });
    await guest.console.waitFor(/written/u, 15_000);
    assert.equal((await guest.kill()).how, "killed");
    const bytes = readFileSync(path);
    assert.equal(bytes.toString("latin1", 0, 6), "synced");
    rmSync(folder, { recursive: true });
  });

  it("reaches the host over its own wire", async () => {
    using tap = openTap();
    const server = createServer((socket) => socket.end("from the host")).listen(0, tap.hostAddress);
    await once(server, "listening");
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    await using guest = await startGuest({
      network: tap,
      script: `bash -c "exec 3<>/dev/tcp/${tap.hostAddress}/${address.port}; cat <&3"; power_off`,
      timeout: 60_000,
    });
    const end = await guest.ended;
    server.close();
    assert.match(end.console, /from the host/u);
  });

  it("boots systemd", async () => {
    await using guest = await startGuest({
      memory: 1024,
      script: "exec /usr/lib/systemd/systemd",
      parameters: ["systemd.unit=multi-user.target", "systemd.show_status=1"],
      timeout: 110_000,
    });
    await guest.console.waitFor(/Reached target.*multi-user\.target/u, 100_000);
    await guest.kill();
    assert.ok(existsSync(guest.folder));
  });
});
