/** Programs that the agent runs: however much they print, they end by themselves. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { runSubprocess } from "../agent/subprocess.ts";

const NEVER = new AbortController().signal;
const run = (program: string, args: readonly string[] = [], signal = NEVER) =>
  runSubprocess(program, args, signal, "NATIVE_FAILED");
const sh = (script: string, signal = NEVER) => run("/bin/sh", ["-c", script], signal);

describe("programs", () => {
  it("that print 2 MiB end by themselves: their status, and the last they said", async () => {
    const much = "head -c 2097152 /dev/zero | tr '\\0' x";
    for (const [script, last] of [
      [`${much}; echo; echo the end; exit 1`, "the end"],
      [`(${much}; echo; echo the end) >&2; exit 1`, "the end"],
    ] as const) {
      const { status, output } = await sh(script);
      assert.equal(status, 1);
      assert.match(output, new RegExp(`^x+\n${last}$`, "u"));
      assert.ok(output.length <= 500);
    }
  });

  it("get no environment, no input and no folder of ours", async () => {
    process.env["SEALET_TEST_SECRET"] = "c4nary";
    try {
      assert.deepEqual(await run("/usr/bin/env"), { status: 0, output: "" });
    } finally {
      delete process.env["SEALET_TEST_SECRET"];
    }
    assert.deepEqual(await sh("pwd; cat"), { status: 0, output: "/" });
  });

  it("that are not there, or are killed, are told from those that fail", async () => {
    await assert.rejects(run("/nonexistent"), { code: "NATIVE_FAILED", message: /ENOENT/ });
    await assert.rejects(sh("kill -9 $$"), { code: "NATIVE_FAILED", message: /SIGKILL/ });
  });

  it("that are called off have ended when that is told: the disk is free again", async () => {
    await assert.rejects(sh("exit 0", AbortSignal.abort()), { code: "CANCELLED" });
    const stop = new AbortController();
    const begun = performance.now();
    const running = sh("trap 'sleep 0.3; exit 1' TERM; while :; do sleep 0.05; done", stop.signal);
    await sleep(200);
    stop.abort();
    await assert.rejects(running, { code: "CANCELLED" });
    assert.ok(performance.now() - begun >= 450);
  });
});
