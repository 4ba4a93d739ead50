import assert from "node:assert/strict";
import { attempt } from "../../../agent/attest/malformed.ts";
import { parseQuote } from "../../../agent/attest/tdx/quote.ts";
import { verifyTdx, type TdxInput } from "../../../agent/attest/tdx/verify.ts";
import { failures, type Verdict } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { TDX_ROWS } from "./rows.ts";
import { GENUINE, OLD_SIGNER_CHAIN, strangersPolicy, vector } from "./genuine.ts";

const crypto = nodeCrypto();

async function appraise(
  file: string,
  collateral: TdxInput["collateral"],
  at: string,
  more: Partial<TdxInput> = {},
): Promise<Verdict> {
  const quote = vector(file);
  const parsed = attempt(() => parseQuote(quote));
  const reportData = parsed.ok ? parsed.value.td.fields.reportData.slice() : new Uint8Array(64);
  const policy = strangersPolicy();
  return verifyTdx({
    quote,
    collateral,
    policy,
    at: Date.parse(at),
    expect: { reportData },
    crypto,
    ...more,
  });
}

/** A value of the verdict's claims about the TCB, as text. */
function tcb(verdict: Verdict, name: string): string {
  const claims = verdict.claims["tcb"];
  assert.ok(typeof claims === "object" && !Array.isArray(claims) && name in claims);
  const value = Object.entries(claims).find(([key]) => key === name)?.[1];
  return Array.isArray(value)
    ? value.join(",")
    : typeof value === "string"
      ? value
      : assert.fail(`no ${name}`);
}

describe("genuine TDX quotes with genuine collateral", () => {
  for (const [file, collateral, at, status, refused] of TDX_ROWS)
    it(`${file} by ${collateral} at ${at}: ${status}${refused.length > 0 ? `, refused: ${refused.join(", ")}` : ""}`, async () => {
      const verdict = await appraise(file, GENUINE[collateral], at);
      assert.deepEqual(verdict.notEvaluated, []);
      assert.equal(["platform", "module", "status"].map((name) => tcb(verdict, name)).join("/"), status);
      assert.deepEqual(failures(verdict), refused);
      assert.equal(verdict.accepted, refused.length === 0);
    });

  it("a strict policy refuses out-of-date platforms by the status alone", async () => {
    const policy = strangersPolicy(["UpToDate"]);
    const verdict = await appraise("x-automata-dcap/samples/quotev4.bin", GENUINE.july2025, "2025-07-20", {
      policy,
    });
    assert.deepEqual(failures(verdict), ["tdx.tcb.status"]);
  });

  it("advisories of all matched levels are named", async () => {
    const verdict = await appraise("x-automata-dcap/samples/quotev4.bin", GENUINE.july2025, "2025-07-20");
    assert.equal(tcb(verdict, "advisories"), "INTEL-SA-00960,INTEL-SA-00982,INTEL-SA-00986");
  });

  it("the same platform is NotSupported by one TCB info and UpToDate by an older one", async () => {
    const file = "x-automata-dcap/quotes/alibaba_quote_5.dat";
    const at = "2025-06-25";
    const verdict = await appraise(file, GENUINE.june2025, at);
    assert.equal(tcb(verdict, "status"), "UpToDate");
  });

  it("collateral is refused before its time and after it", async () => {
    const file = "dcap-qvl/near/quote.bin";
    const early = await appraise(file, GENUINE.near, "2025-09-02T07:10:02Z");
    const all = ["tdx.qe-identity.current", "tdx.tcb-info.current"];
    assert.deepEqual(failures(early).toSorted(), all);
    const late = await appraise(file, GENUINE.near, "2025-10-02T07:41:59Z");
    assert.ok(failures(late).includes("tdx.tcb-info.current"));
    const between = await appraise(file, GENUINE.near, "2025-09-02T07:20:00Z");
    assert.deepEqual(failures(between), ["tdx.tcb-info.current"]);
  });

  it("a TCB info whose signer's certificate has expired is refused for that alone", async () => {
    const body = GENUINE.googleV5.tcbInfo.get("90c06f000000")?.body ?? new Uint8Array();
    const tcbInfo = new Map([["90c06f000000", { body, issuerChain: OLD_SIGNER_CHAIN }]]);
    const collateral = { ...GENUINE.googleV5, tcbInfo };
    const verdict = await appraise("go-tdx-guest/testdata/quote_v5_sample.dat", collateral, "2026-03-01");
    assert.deepEqual(failures(verdict), ["tdx.tcb-info.signer-dates"]);
  });

  it("TCB info of another platform is refused for that", async () => {
    const foreign = GENUINE.trustee.tcbInfo.get("00a06d080000");
    assert.ok(foreign);
    const tcbInfo = new Map([["00806f050000", foreign]]);
    const collateral = { ...GENUINE.trustee, tcbInfo };
    const verdict = await appraise(
      "go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat",
      collateral,
      "2025-10-29",
    );
    assert.ok(failures(verdict).includes("tdx.tcb-info.platform"));
  });

  it("SGX quotes are none of TDX", async () => {
    for (const file of [
      "dcap-qvl/sample/sgx_quote",
      "x-automata-dcap/samples/quotev3.bin",
      "x-automata-dcap/solana/quote_sgx.bin",
    ]) {
      const verdict = await appraise(file, GENUINE.near, "2025-09-15");
      assert.deepEqual(failures(verdict), ["tdx.quote.format"]);
      assert.equal(verdict.accepted, false);
    }
  });

  it("the event log of a machine replays to its quote", async () => {
    const policy = { ...strangersPolicy(), eventLog: "replay" as const };
    const eventLog = vector("go-tdx-guest/testdata/ccel/ccel_data.dat");
    const file = "go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat";
    const reportData = vector("go-tdx-guest/testdata/ccel/nonce.dat");
    const input = { policy, eventLog, expect: { reportData } };
    const verdict = await appraise(file, GENUINE.october2025, "2025-10-25", input);
    assert.deepEqual(failures(verdict), []);
    assert.equal(verdict.accepted, true);
    const without = await appraise(file, GENUINE.october2025, "2025-10-25", { policy });
    assert.deepEqual(failures(without), ["tdx.event-log.format"]);
    const other = vector("trustee/eventlog/CCEL_data_gcp");
    const swapped = await appraise(file, GENUINE.october2025, "2025-10-25", { policy, eventLog: other });
    assert.deepEqual(failures(swapped), ["tdx.event-log.replay"]);
  });
});
