/** No mutant of right evidence is accepted, and none makes the verifier throw. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { appraise, AppraisalCache } from "../../../agent/attest/appraise.ts";
import { failures } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { fieldMutation, mutate, mutation, PLACES, resign, right, unsigned } from "./mutants.ts";

/** Fields that no policy speaks of, or of which this policy allows other values; their mutants may be accepted. */
const FREE = [
  [0x004, 0x008], // guest SVN: a floor of 0
  [0x008, 0x00b], // policy: ABI, SMT
  [0x040, 0x041], // platform: bits that are left unchecked
  [0x048, 0x049], // author key enabled
  [0x140, 0x160], // report id
  [0x189, 0x18b], // model within the product line, stepping
  [0x1f0, 0x1f8], // launch TCB: above its minimum
] as const;

const isFree = (at: number): boolean => FREE.some(([from, to]) => from <= at && at < to);

describe("SNP mutants", function () {
  this.timeout(120_000);
  const crypto = nodeCrypto();
  const cache = new AppraisalCache(crypto);

  it("what they come from is accepted", async () => {
    assert.deepEqual(failures(await appraise(right)), []);
  });

  for (const place of PLACES)
    it(`of ${place}: refused, with a reason`, async () => {
      await fc.assert(
        fc.asyncProperty(mutation, async (change) => {
          const input = mutate(place, change);
          if (input === undefined) return;
          const verdict = await appraise({ ...input, crypto, cache });
          // the table's padding and unknown GUIDs are free: then the certificate is still the same
          if (place === "table" && verdict.accepted) return;
          assert.equal(verdict.accepted, false);
          assert.ok(failures(verdict).length > 0 || verdict.notEvaluated.length > 0);
        }),
        { numRuns: 600 },
      );
    });

  it("of a field, then signed rightly: refused unless the policy leaves the field free", async () => {
    await fc.assert(
      fc.asyncProperty(fieldMutation, async (change) => {
        const changed = change(unsigned);
        if (changed === undefined) return;
        const report = resign(changed);
        const verdict = await appraise({ ...right, crypto, cache, evidence: { ...right.evidence, report } });
        const differs = report.findIndex((byte, i) => byte !== unsigned[i]);
        if (!verdict.accepted) assert.ok(failures(verdict).length > 0);
        else assert.ok(isFree(differs) || differs >= 0x2a0, `byte 0x${differs.toString(16)} is accepted`);
      }),
      { numRuns: 600 },
    );
  });

  it("junk is refused within 50 µs, before any signature", async () => {
    let signatures = 0;
    const counting = {
      ...crypto,
      verify: async () => {
        signatures++;
        return true;
      },
    };
    const junk = Array.from({ length: 2000 }, (_, i) => {
      const bytes = new Uint8Array(i % 4 === 0 ? i : 1184);
      for (let j = 0; j < bytes.length; j++) bytes[j] = (i * 31 + j * 17) & 0xff;
      return { ...right, crypto: counting, brief: true, evidence: { ...right.evidence, report: bytes } };
    });
    for (const input of junk) assert.equal((await appraise(input)).accepted, false);
    // the best of several rounds: the machine may be busy
    let best = Infinity;
    for (let round = 0; round < 5; round++) {
      const from = performance.now();
      for (const input of junk) await appraise(input);
      best = Math.min(best, ((performance.now() - from) / junk.length) * 1000);
    }
    assert.equal(signatures, 0);
    assert.ok(best < 50, `${best.toFixed(1)} µs`);
  });
});
