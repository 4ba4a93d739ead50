/** Whether an answer of the platform is the answer to this request: on genuine quotes and reports. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { checkSnpReport } from "../../agent/tee/snp-report.ts";
import { checkQuote } from "../../agent/tee/tdx-quote.ts";

function vector(path: string): Buffer {
  return readFileSync(new URL(`../vectors/${path}`, import.meta.url));
}

const malformed = { code: "EVIDENCE_MALFORMED" };

describe("a TDX quote", () => {
  const quote = vector("go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat");
  const nonce = vector("go-tdx-guest/testdata/ccel/nonce.dat");
  const version5 = vector("go-tdx-guest/testdata/quote_v5_sample.dat");

  it("is over the bytes that were asked for", () => {
    checkQuote(quote, nonce);
    checkQuote(version5, version5.subarray(574, 638));
  });

  it("is refused over any other", () => {
    for (let index = 0; index < 64; index += 9) {
      const other = Buffer.from(nonce);
      other[index] = (other[index] ?? 0) ^ 1;
      assert.throws(() => {
        checkQuote(quote, other);
      }, malformed);
    }
    assert.throws(() => {
      checkQuote(version5, version5.subarray(568, 632));
    }, malformed);
  });

  it("is refused where it is SGX's, of another version, or cut off before its report data ends", () => {
    const sgx = vector("dcap-qvl/sample/sgx_quote");
    const notTdx = Buffer.from(quote);
    notTdx.writeUInt32LE(0, 4);
    assert.throws(() => {
      checkQuote(notTdx, nonce);
    }, malformed);
    const version3 = Buffer.from(quote);
    version3.writeUInt16LE(3, 0);
    for (const bytes of [sgx, version3, quote.subarray(0, 631), quote.subarray(0, 47), Buffer.alloc(0)])
      assert.throws(() => {
        checkQuote(bytes, nonce);
      }, malformed);
  });
});

describe("an SNP report", () => {
  const report = vector("go-sev-guest/verify-testdata/attestation.bin");
  const reportData = report.subarray(0x50, 0x90);
  const vmpl = report.readUInt32LE(0x30);

  it("is over the bytes and of the level that were asked for", () => {
    checkSnpReport(report, reportData, vmpl);
  });

  it("is refused over other bytes, of another level, of another size", () => {
    assert.throws(() => {
      checkSnpReport(report, Buffer.alloc(64, 1), vmpl);
    }, malformed);
    assert.throws(() => {
      checkSnpReport(report, reportData, vmpl + 1);
    }, malformed);
    for (const bytes of [report.subarray(0, 1183), Buffer.concat([report, Buffer.alloc(1)]), Buffer.alloc(0)])
      assert.throws(() => {
        checkSnpReport(bytes, reportData, vmpl);
      }, malformed);
  });
});
