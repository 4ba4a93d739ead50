import assert from "node:assert/strict";
import { statusOf } from "../../agent/api/status-view.ts";
import { PHASES, type PhaseName, type PhaseState } from "../../agent/boot/phase.ts";
import { REMEDY, SealetError } from "../../agent/error.ts";
import { VirtualClock } from "../boot/virtual-clock.ts";

describe("status of a node", () => {
  const clock = new VirtualClock();
  const phases = new Map<PhaseName, PhaseState>(PHASES.map((name) => [name, { state: "pending" }]));
  const error = new SealetError("KMS_UNREACHABLE", "Nobody answers", {
    expected: "an answer",
    found: "none",
  });

  it("names what it waits for while it waits", () => {
    phases.set("attest", { state: "retrying", since: clock.now - 4000, attempts: 3, error });
    const status = statusOf({ state: { state: "booting" }, phases, facts: {} }, clock, undefined, undefined);
    assert.equal(status.state, "booting");
    assert.deepEqual(status.failure, {
      code: "KMS_UNREACHABLE",
      phase: "attest",
      message: "Nobody answers",
      remedy: REMEDY.KMS_UNREACHABLE,
      expected: "an answer",
      found: "none",
    });
    const attest = status.phases.find(({ name }) => name === "attest");
    assert.deepEqual(attest, {
      name: "attest",
      state: "retrying",
      durationMs: 4000n,
      attempts: 3,
      detail: "KMS_UNREACHABLE: Nobody answers",
    });
  });

  it("gives the lease's end by the wall clock, from what is left of it", () => {
    const lease = { id: "l", durationMs: 300_000, heldUntil: clock.now + 60_000 };
    const session = { lease, uuid: "u", initdataSha256: "cd", evidenceSha256: "ab", attestedUnixMs: 5 };
    const status = statusOf(
      { state: { state: "serving" }, phases, facts: { session } },
      clock,
      undefined,
      undefined,
    );
    assert.equal(status.lease?.expiresUnixMs, BigInt(clock.wall() + 60_000));
    assert.equal(status.evidenceSha256, "ab");
  });
});
