/** Which source is chosen on which machine; and the local report of a TDX guest. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { detectTee, PLACES } from "../../agent/tee/detect.ts";
import { tdReport } from "../../agent/tee/tdx-guest.ts";
import { startTwin } from "../twin/twin.ts";
import type { TwinConfigFile } from "../twin/config.ts";

describe("detect", () => {
  it("I8 finds no TEE on a machine without one", async () => {
    await assert.rejects(detectTee(), { code: "TEE_ABSENT" });
  });

  const cases = [
    { tee: "sev-snp", interfaces: ["device", "configfs-tsm"], origin: "/dev/sev-guest" },
    { tee: "sev-snp", interfaces: ["device"], origin: "/dev/sev-guest" },
    { tee: "sev-snp", interfaces: ["configfs-tsm"], origin: PLACES.tsm },
    { tee: "tdx", interfaces: ["device", "configfs-tsm"], origin: PLACES.tsm },
    { tee: "tdx", interfaces: ["configfs-tsm"], origin: PLACES.tsm },
  ] as const satisfies readonly (Pick<TwinConfigFile, "tee"> & { interfaces: unknown; origin: string })[];

  for (const { tee, interfaces, origin } of cases)
    it(`takes ${origin} of a ${tee} guest that has ${interfaces.join(" and ")}`, async () => {
      await using twin = await startTwin({ tee, interfaces: [...interfaces] });
      const source = await detectTee();
      assert.equal(source.tee, tee);
      assert.equal(source.origin, origin);
      const { signal } = new AbortController();
      const evidence = await source.getEvidence(randomBytes(64), { signal });
      assert.equal(evidence.tee, tee);
      assert.equal(source.deriveKey === undefined, origin !== "/dev/sev-guest");
      assert.equal((await twin.control.state()).requests, 1);
    });

  it("refuses a TDX guest whose kernel gives no quotes", async () => {
    await using twin = await startTwin({ tee: "tdx", interfaces: ["device"] });
    await assert.rejects(detectTee(), { code: "TEE_REFUSED", message: /Linux 6\.7/u });
    assert.equal((await twin.control.state()).requests, 0);
  });
});

describe("TDREPORT", () => {
  it("is of this TD, over the bytes", async () => {
    await using twin = await startTwin({
      tee: "tdx",
      interfaces: ["device"],
      machine: { measurement: "cd".repeat(48) },
    });
    const reportData = randomBytes(64);
    const report = await tdReport(reportData);
    assert.equal(report.length, 1024);
    assert.equal(report.subarray(528, 576).toString("hex"), "cd".repeat(48));
    assert.deepEqual(createHash("sha384").update(report.subarray(512)).digest(), report.subarray(80, 128));
    await twin.control.fault({ kind: "read-error", errno: "EIO" });
    await assert.rejects(tdReport(reportData), { code: "TEE_REFUSED", message: /EIO/u });
    await twin.control.fault({ kind: "report", reportData: "other" });
    await assert.rejects(tdReport(reportData), { code: "EVIDENCE_MALFORMED" });
  });

  it("is not there without its device", async () => {
    await assert.rejects(tdReport(randomBytes(64)), { code: "TEE_ABSENT" });
  });
});
