import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openConsole } from "../../agent/boot/console.ts";

describe("the console", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-console-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("holds nobody back who writes to it while its other end takes nothing, and goes on when it does", async () => {
    const path = join(folder, "console");
    execFileSync("/usr/bin/mkfifo", [path]);
    const far = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const print = openConsole(path);
    const line = "x".repeat(1023);
    // 100 KiB: more than a pipe holds; a write that waits would wait for ever
    for (let sent = 0; sent < 100; sent++) print(line);
    const buffer = Buffer.alloc(1024 * 1024);
    const first = readSync(far, buffer);
    assert.ok(first >= 4096 && first < 100 * 1024, `${first} bytes`);
    await delay(300);
    assert.equal(first + readSync(far, buffer), 100 * 1024);
    // what nobody takes for long is given up
    for (let sent = 0; sent < 1000; sent++) print(line);
    closeSync(far);
    print(line);
  });

  it("may be missing", () => {
    openConsole(join(folder, "none"))("a line");
  });
});
