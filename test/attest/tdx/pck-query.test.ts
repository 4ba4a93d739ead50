import assert from "node:assert/strict";
import { pckQuery } from "../../../agent/attest/tdx/pck-query.ts";
import { FMSPC, pem } from "../../twin/intel-ca.ts";
import { vector } from "../vectors.ts";
import { ca } from "./twin.ts";

describe("which of Intel's collateral a quote needs", () => {
  it("of a genuine quote", () => {
    const query = pckQuery(vector("dcap-qvl/sample/tdx_quote"));
    assert.deepEqual(query, { ok: true, value: { fmspc: "b0c06f000000", ca: "platform" } });
  });

  it("of either CA's platforms", () => {
    const pck = ca.pck();
    const query = pckQuery(ca.quote({ pck, chain: pem(pck.der, ca.processor.der, ca.root.der) }));
    assert.deepEqual(query, { ok: true, value: { fmspc: FMSPC, ca: "processor" } });
  });

  it("is not told by another CA's certificate, or by bytes that are no quote", () => {
    const pck = ca.pck();
    const other = pckQuery(ca.quote({ pck, chain: pem(pck.der, ca.tcbSigner.der, ca.root.der) }));
    assert.ok(!other.ok);
    assert.match(other.refusal.why, /neither the Platform nor the Processor CA/);
    for (const bytes of [new Uint8Array(0), new Uint8Array(5000), ca.quote().subarray(0, 700)])
      assert.equal(pckQuery(bytes).ok, false);
  });
});
