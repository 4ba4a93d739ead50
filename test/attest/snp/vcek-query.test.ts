import assert from "node:assert/strict";
import { vcekQuery } from "../../../agent/attest/snp/vcek-query.ts";
import { amdCa, encodeReport } from "../../twin/amd-ca.ts";
import { vector } from "../vectors.ts";

describe("which VCEK a report needs", () => {
  it("of a genuine Milan report", () => {
    const query = vcekQuery(vector("trustee/snp/test-report.bin"));
    assert.ok(query.ok);
    const { product, hwid, tcb } = query.value;
    assert.equal(product, "Milan");
    assert.match(hwid, /^c38427a30d4c7af9[0-9a-f]{112}$/);
    assert.equal(tcb, "blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115");
  });

  it("of Turin: eight bytes of chip id, and FMC", () => {
    const vek = amdCa("Turin").issue({ hwid: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) });
    const query = vcekQuery(encodeReport({ product: "Turin" }, vek));
    assert.ok(query.ok);
    assert.deepEqual(query.value, {
      product: "Turin",
      hwid: "0102030405060708",
      tcb: "fmcSPL=1&blSPL=3&teeSPL=1&snpSPL=5&ucodeSPL=80",
    });
  });

  const vek = amdCa("Genoa").issue();
  const WRONG: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["a VLEK's report", vector("trustee/snp/test-vlek-report.bin"), /not signed by a VCEK/],
    ["a masked chip", encodeReport({ product: "Genoa", chipId: new Uint8Array(64) }, vek), /masked/],
    ["Venice", encodeReport({ product: "Genoa", cpuidFamily: 0x1a, cpuidModel: 0x50 }, vek), /Venice/],
    ["a cut", new Uint8Array(3), /1184 bytes are needed/],
  ];
  for (const [what, report, why] of WRONG)
    it(`none for ${what}`, () => {
      const query = vcekQuery(report);
      assert.ok(!query.ok);
      assert.match(query.refusal.why, why);
    });
});
