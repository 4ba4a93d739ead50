/** From the kernel's device through the agent's source to the verdict: what the twin measures decides. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appraise } from "../../agent/attest/appraise.ts";
import { failures, type Verdict } from "../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { ConfigfsTsm } from "../../agent/tee/configfs-tsm.ts";
import type { EvidenceSource } from "../../agent/tee/evidence-source.ts";
import { SevGuest } from "../../agent/tee/sev-guest.ts";
import { MEASUREMENT, strictPolicy } from "../attest/snp/policies.ts";
import { amdCa } from "../twin/amd-ca.ts";
import { startTwin, type Twin } from "../twin/twin.ts";

const { signal } = new AbortController();
const hostData = "22".repeat(32);
const good = { measurement: MEASUREMENT, hostData };

for (const product of ["Milan", "Genoa", "Turin"] as const)
  describe(`evidence of a ${product} machine`, () => {
    let twin: Twin;
    const ca = amdCa(product, process.env["SEALET_TWIN_CA"]);

    before(async () => {
      twin = await startTwin({ tee: "sev-snp", product, machine: good });
    });
    after(() => twin[Symbol.asyncDispose]());
    beforeEach(() => twin.control.reboot(good));

    async function judge(source: EvidenceSource, expected?: Buffer): Promise<Verdict> {
      const reportData = randomBytes(64);
      return appraise({
        evidence: await source.getEvidence(reportData, { signal }),
        collateral: { snp: { [product]: ca.collateral() } },
        policy: strictPolicy(ca),
        at: Date.parse("2026-06-01T00:00:00Z"),
        expect: {
          reportData: expected ?? reportData,
          initdata: { sha256: Buffer.from(hostData, "hex"), sha384: Buffer.alloc(48) },
        },
        crypto: nodeCrypto(),
      });
    }

    it("is accepted, by either of the kernel's interfaces", async () => {
      for (const source of [new SevGuest({ spacing: 0 }), new ConfigfsTsm("sev_guest", { spacing: 0 })]) {
        const verdict = await judge(source);
        assert.deepEqual(failures(verdict), []);
        assert.ok(verdict.accepted);
      }
      assert.equal((await twin.control.state()).rootSha256, ca.arkSha256);
    });

    it("is refused for what the machine is", async () => {
      const cases = [
        [{ measurement: "cd".repeat(48) }, "snp.measurement"],
        [{ hostData: "00".repeat(32) }, "snp.host-data"],
        [{ policy: "0xb0000" }, "snp.guest-policy"],
        [{ platformInfo: "0x5" }, "snp.platform"],
      ] as const;
      for (const [change, code] of cases) {
        await twin.control.reboot({ ...good, policy: "0x30000", platformInfo: "0x25", ...change });
        const verdict = await judge(new SevGuest({ spacing: 0 }));
        assert.deepEqual(failures(verdict), [code]);
        assert.equal(verdict.accepted, false);
      }
      await twin.control.reboot({ ...good, policy: "0x30000", platformInfo: "0x25" });
    });

    it("is refused with a signature that is not the chip's, and over another request's bytes", async () => {
      await twin.control.fault({ kind: "report", signature: "bad" });
      assert.deepEqual(failures(await judge(new SevGuest({ spacing: 0 }))), ["snp.report-signature"]);
      assert.deepEqual(failures(await judge(new SevGuest({ spacing: 0 }), Buffer.alloc(64))), [
        "snp.report-data",
      ]);
    });
  });
