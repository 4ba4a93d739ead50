/** What a verdict says of an SNP machine, by names, for each version of the report; also where it is refused. */
import assert from "node:assert/strict";
import { appraise } from "../../../agent/attest/appraise.ts";
import { decodeTcb } from "../../../agent/attest/snp/product.ts";
import type { Claims } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import {
  amdCa,
  certificateTable,
  encodeReport,
  GOOD_TCB,
  signReportBytes,
  type ReportFields,
  type VekOptions,
} from "../../twin/amd-ca.ts";
import { MEASUREMENT, strictPolicy } from "./policies.ts";

const DATA = new Uint8Array(64).fill(1);
const INITDATA = new Uint8Array(32).fill(2);

async function claimsOf(fields: ReportFields, options: VekOptions = {}, withVek = true): Promise<Claims> {
  const ca = amdCa(fields.product);
  const vek = ca.issue(options);
  const measurement = Buffer.from(MEASUREMENT, "hex");
  const report = encodeReport({ reportData: DATA, hostData: INITDATA, measurement, ...fields }, vek);
  const auxiliary = certificateTable({ [vek.kind === "VLEK" ? "vlek" : "vcek"]: vek.der });
  const verdict = await appraise({
    evidence: {
      tee: "sev-snp",
      report: signReportBytes(report, vek.key),
      auxiliary: withVek ? auxiliary : new Uint8Array(0),
      eventLog: new Uint8Array(0),
    },
    collateral: { snp: { [fields.product]: ca.collateral() } },
    policy: strictPolicy(ca),
    at: Date.parse("2026-06-01T00:00:00Z"),
    expect: { reportData: DATA, initdata: { sha256: INITDATA, sha384: new Uint8Array(48) } },
    crypto: nodeCrypto(),
  });
  assert.equal(verdict.accepted, withVek && (fields.keyInfo ?? 0) === 0);
  return verdict.claims;
}

describe("SNP claims", () => {
  it("a TCB is 8 bytes", () => {
    for (const size of [0, 7, 9])
      assert.throws(() => decodeTcb("Milan", new Uint8Array(size)), {
        name: "Malformed",
        code: "UNEXPECTED",
      });
  });

  it("version 2: the product is the certificate's word, and without one nobody's", async () => {
    const known = await claimsOf({ product: "Milan", version: 2 });
    assert.deepEqual(
      [known["product"], known["cpuid"], known["mitigations"]],
      ["Milan", undefined, undefined],
    );
    const unknown = await claimsOf({ product: "Milan", version: 2 }, {}, false);
    assert.deepEqual(
      [unknown["product"], unknown["tcb"], unknown["certificate"]],
      [undefined, undefined, undefined],
    );
    assert.equal(unknown["measurement"], MEASUREMENT);
  });

  it("version 3: the processor's, also without a certificate; no FMC before Turin", async () => {
    const claims = await claimsOf({ product: "Genoa" }, {}, false);
    assert.deepEqual([claims["version"], claims["product"]], [3, "Genoa"]);
    const { fmc: _, ...tcb } = GOOD_TCB.Genoa;
    assert.deepEqual(claims["tcb"], { reported: tcb, committed: tcb, current: tcb, launch: tcb });
    const strange = await claimsOf({ product: "Genoa", cpuidFamily: 0x17 }, {}, false);
    assert.equal(strange["product"], undefined);
  });

  it("version 5: mitigations; a VLEK names its provider", async () => {
    const claims = await claimsOf(
      { product: "Turin", launchMitVector: 3n, currentMitVector: 0x10n },
      { kind: "VLEK", cspId: "CN=cc-twin.example" },
    );
    assert.deepEqual(claims["mitigations"], { launch: "0x3", current: "0x10" });
    assert.deepEqual(
      [claims["signer"], Object.entries(claims["certificate"] ?? {}).find(([name]) => name === "cspId")],
      ["VLEK", ["cspId", "CN=cc-twin.example"]],
    );
  });

  it("a report that nobody signed says so", async () => {
    assert.equal((await claimsOf({ product: "Genoa", keyInfo: 7 << 2 }))["signer"], "none");
  });
});
