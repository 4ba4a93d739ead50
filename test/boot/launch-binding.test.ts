import assert from "node:assert/strict";
import type { Evidence } from "../../agent/api/gen/sealet.ts";
import { demandBound } from "../../agent/boot/launch-binding.ts";
import { initdataDigests } from "../../agent/config/initdata.ts";
import { vector } from "../attest/vectors.ts";
import { vcek } from "../kms/cluster.ts";
import { signReport } from "../twin/amd-ca.ts";

const evidence = (tee: string, report: Uint8Array): Evidence => ({
  tee,
  report: Buffer.from(report),
  auxiliary: Buffer.alloc(0),
  eventLog: Buffer.alloc(0),
});
const quote = () => Buffer.from(vector("dcap-qvl/sample/tdx_quote"));
const refused = (found: string) => ({ code: "INITDATA_INVALID", expected: found });

const snp = (hostData: Buffer) => evidence("sev-snp", signReport({ product: "Genoa", hostData }, vcek));

describe("initdata and the launch", () => {
  const mine = initdataDigests(Buffer.from("mine"));
  /** MRCONFIGID in the TD's body behind the quote's header. */
  const CONFIG_ID = 48 + 184;

  it("is accepted where the launch bound it, or nothing", () => {
    demandBound(snp(mine.sha256), mine);
    demandBound(snp(Buffer.alloc(32)), mine);
    const bound = quote();
    mine.sha384.copy(bound, CONFIG_ID);
    demandBound(evidence("tdx", bound), mine);
    bound.fill(0, CONFIG_ID, CONFIG_ID + 48);
    demandBound(evidence("tdx", bound), mine);
  });

  it("is refused where the launch bound another", () => {
    const other = initdataDigests(Buffer.from("another"));
    assert.throws(() => demandBound(snp(other.sha256), mine), refused(other.sha256.toString("hex")));
    const near = Buffer.from(mine.sha256);
    near.writeUInt8(near.readUInt8(31) ^ 1, 31);
    assert.throws(() => demandBound(snp(near), mine), refused(near.toString("hex")));
    const bound = quote();
    other.sha384.copy(bound, CONFIG_ID);
    assert.throws(() => demandBound(evidence("tdx", bound), mine), refused(other.sha384.toString("hex")));
  });

  it("is not judged by evidence that can't be read: others refuse that", () => {
    demandBound(evidence("sev-snp", Buffer.alloc(7)), mine);
  });
});
