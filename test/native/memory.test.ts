import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { addressOf } from "../../native/libc.ts";
import { Secret } from "../../native/memory.ts";

/** The flags of the mapping that an address lies in (proc(5), smaps). */
function flagsAt(address: bigint): string[] {
  let inside = false;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /u.exec(line);
    if (range !== null) inside = address >= BigInt(`0x${range[1]}`) && address < BigInt(`0x${range[2]}`);
    else if (inside && line.startsWith("VmFlags:")) return line.slice(8).trim().split(" ");
  }
  return [];
}

function locked(): number {
  return Number(/VmLck:\s+(\d+)/u.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

describe("I9 a secret's memory", () => {
  it("is locked, left out of core dumps and wiped in children", () => {
    using secret = Secret.allocate(32);
    const flags = flagsAt(addressOf(secret.bytes));
    for (const flag of ["lo", "dd", "wf"]) assert.ok(flags.includes(flag), `${flag} in ${flags.join(" ")}`);
  });

  it("is unmapped at the end, and Buffers that were kept become empty", () => {
    const secret = Secret.take(Buffer.from("correct horse"));
    const kept = secret.bytes;
    const address = addressOf(kept);
    secret[Symbol.dispose]();
    assert.equal(kept.length, 0);
    assert.equal(kept[0], undefined);
    assert.ok(!flagsAt(address).includes("lo"));
    assert.ok(secret.disposed);
    assert.throws(() => secret.bytes, { code: "INTERNAL" });
    secret[Symbol.dispose]();
  });

  it("takes bytes over and wipes where they came from", () => {
    const source = Buffer.from("battery staple");
    using secret = Secret.take(source);
    assert.equal(secret.bytes.toString(), "battery staple");
    assert.ok(source.every((byte) => byte === 0));
  });

  it("holds what does not fit a page", () => {
    using secret = Secret.allocate(10_000);
    secret.bytes.fill(7);
    assert.equal(secret.bytes[9999], 7);
    assert.equal(secret.length, 10_000);
  });

  it("does not show in text of any kind", () => {
    using secret = Secret.take(Buffer.from("hunter2"));
    const texts = [String(secret), JSON.stringify({ secret }), inspect({ secret }, { showHidden: true })];
    for (const text of texts) {
      assert.match(text, /secret of 7 bytes/u);
      assert.doesNotMatch(text, /hunter2|104/u);
    }
  });

  it("is many times allocated and given back", () => {
    const before = locked();
    for (let index = 0; index < 5000; index++) {
      using secret = Secret.allocate(64);
      secret.bytes.fill(index);
    }
    assert.equal(locked(), before);
  });
});

describe("I9 a hardened process", () => {
  it("leaves no core and is closed to its user's other processes", () => {
    const source = `
      import { readFileSync } from "node:fs";
      import { hardenProcess } from "${new URL("../../native/memory.ts", import.meta.url).href}";
      hardenProcess({ lockAll: false });
      const core = /Max core file size\\s+(\\d+)\\s+(\\d+)/.exec(readFileSync("/proc/self/limits", "utf8"));
      console.log(core[1], core[2]);
      process.abort();`;
    const { stdout, signal } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", source], {
      encoding: "utf8",
    });
    assert.equal(stdout, "0 0\n");
    assert.equal(signal, "SIGABRT");
  });
});
