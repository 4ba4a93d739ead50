import assert from "node:assert/strict";
import { assert as holds, double, integer, property } from "fast-check";
import { Journal } from "../../agent/boot/journal.ts";
import type { Phase, PhaseState } from "../../agent/boot/phase.ts";
import { RETRY, mayRetry, retryDelay } from "../../agent/boot/retry.ts";
import { Runner } from "../../agent/boot/runner.ts";
import { SealetError } from "../../agent/error.ts";
import { VirtualClock } from "./virtual-clock.ts";

function runnerOf(phases: readonly Phase[], signal = new AbortController().signal) {
  const clock = new VirtualClock();
  const journal = new Journal(clock);
  return { clock, journal, runner: new Runner(phases, { journal, clock, signal, random: () => 0.5 }) };
}
const phase = (part: Partial<Phase>): Phase => ({
  name: "detect",
  timeout: 1000,
  retry: "never",
  needs: [],
  run: () => Promise.resolve({ done: "well" }),
  ...part,
});

describe("phase runner", () => {
  it("refuses a phase whose needs were only skipped", async () => {
    const { runner } = runnerOf([
      phase({ name: "unseal", run: () => Promise.resolve({ skipped: "not today" }) }),
      phase({ name: "kubelet", needs: ["unseal"], run: () => assert.fail("ran") }),
    ]);
    const result = await runner.run();
    assert.ok(result.end === "failed" && result.phase === "kubelet" && result.error.code === "INTERNAL");
  });

  it("aborts a phase at its timeout and names that as the reason", async () => {
    const { runner, clock } = runnerOf([
      phase({
        run: ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted")))),
      }),
    ]);
    const result = runner.run();
    await clock.pass(1001);
    const ended = await result;
    assert.ok(ended.end === "failed" && ended.error.code === "TIMEOUT");
  });

  it("waits for a phase that does not heed its timeout, and never runs it twice at once", async () => {
    let running = 0;
    const finish = new AbortController();
    const run: Phase["run"] = async () => {
      assert.equal(++running, 1);
      await new Promise((resolve) => finish.signal.addEventListener("abort", resolve));
      running--;
      return { done: "late" };
    };
    const { runner, clock, journal } = runnerOf([phase({ retry: "while-it-heals", run })]);
    const result = runner.run();
    await clock.pass(60_000);
    assert.ok(journal.after(0).some((event) => event.kind === "note" && event.code === "TIMEOUT"));
    finish.abort();
    assert.deepEqual(await result, { end: "complete" });
  });

  it("ends a wait between attempts as soon as it is stopped", async () => {
    const stop = new AbortController();
    const unreachable = new SealetError("KMS_UNREACHABLE", "Nobody answers");
    const { runner, clock } = runnerOf(
      [phase({ retry: "while-it-heals", run: () => Promise.reject(unreachable) })],
      stop.signal,
    );
    const result = runner.run();
    await clock.until(() => runner.states.get("detect")?.state === "retrying");
    stop.abort();
    assert.deepEqual(await result, { end: "cancelled", phase: "detect" });
  });

  it("goes on telling why the last attempt failed while the next one runs", async () => {
    const unreachable = new SealetError("KMS_UNREACHABLE", "Nobody answers");
    const stop = new AbortController();
    let seen: PhaseState | undefined;
    const run: Phase["run"] = ({ number, signal }) => {
      if (number === 1) return Promise.reject(unreachable);
      seen = runner.states.get("detect");
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
    };
    const { runner, clock } = runnerOf(
      [phase({ retry: "while-it-heals", run, timeout: 60_000 })],
      stop.signal,
    );
    const result = runner.run();
    await clock.until(() => seen !== undefined);
    assert.ok(seen?.state === "retrying" && seen.attempts === 2 && seen.error === unreachable);
    stop.abort();
    await result;
  });

  it("takes what is thrown and is no error of ours as a defect, once", async () => {
    let runs = 0;
    const run = () => Promise.reject(new TypeError(`no such thing ${++runs}`));
    const result = await runnerOf([phase({ retry: "while-it-heals", run })]).runner.run();
    assert.ok(result.end === "failed" && result.error.code === "INTERNAL");
    assert.equal(runs, 1);
  });
});

describe("backoff", () => {
  it("has full jitter, doubles, and ends at 30 s", () => {
    holds(
      property(integer({ min: 1, max: 10_000 }), double({ min: 0, max: 0.999, noNaN: true }), (n, random) => {
        const delay = retryDelay(n, random);
        assert.ok(delay >= 0 && delay <= Math.min(30_000, 250 * 2 ** (n - 1)));
      }),
    );
    assert.equal(retryDelay(1, 0.999), 250);
    assert.equal(retryDelay(50, 0.5), 15_000);
  });

  it("is for what heals by itself; what says that somebody changed something stands until a person acts", () => {
    // Written out once more, by hand: a code that is not here is never tried again.
    const retried = {
      briefly: ["TEE_ABSENT", "INITDATA_MISSING", "DISK_MISSING", "DISK_BUSY", "NONCE_INVALID"],
      "while-it-heals": [
        ["EVIDENCE_THROTTLED", "KMS_UNREACHABLE", "KMS_UNTRUSTED", "KMS_BUSY", "LEASE_HELD"],
        ["COLLATERAL_UNAVAILABLE", "AUDIT_FAILED", "STORE_FAILED", "NOT_SERVING", "SERVICE_FAILED"],
        ["KUBELET_UNHEALTHY", "TIMEOUT"],
      ].flat(),
    };
    for (const [code, retry] of Object.entries(RETRY)) {
      const expected = retried.briefly.includes(code)
        ? "briefly"
        : retried["while-it-heals"].includes(code)
          ? "while-it-heals"
          : "never";
      assert.equal(retry, expected, code);
    }
  });

  it("ends by the stricter of phase and code", () => {
    assert.equal(mayRetry("KMS_UNREACHABLE", "while-it-heals", 1_000_000), true);
    assert.equal(mayRetry("KMS_UNREACHABLE", "never", 1), false);
    assert.equal(mayRetry("HEADER_TAMPERED", "while-it-heals", 1), false);
    assert.equal(mayRetry("DISK_MISSING", "while-it-heals", 6), true);
    assert.equal(mayRetry("DISK_MISSING", "while-it-heals", 7), false);
  });
});
