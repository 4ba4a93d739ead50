/**
 * Each genuine AMD artefact of `test/vectors` through the public function, at times inside and outside its window, with
 * the outcome that INDEX.md states.
 */
import assert from "node:assert/strict";
import { appraise } from "../../../agent/attest/appraise.ts";
import { isSignedBy, isValidAt } from "../../../agent/attest/chain.ts";
import { attempt } from "../../../agent/attest/malformed.ts";
import { AMD_ROOTS, PRODUCTS } from "../../../agent/attest/snp/product.ts";
import { REPORT } from "../../../agent/attest/snp/report.ts";
import { readVek } from "../../../agent/attest/snp/vek.ts";
import { failures } from "../../../agent/attest/verdict.ts";
import { webCrypto } from "../../../agent/attest/webcrypto.ts";
import {
  commonName,
  parseCertificate,
  parsePemCertificates,
  type Certificate,
} from "../../../agent/attest/x509.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { createHash } from "node:crypto";
import { vector, vectorText } from "../vectors.ts";
import { amdChain, appraisalOf, der, SNP_ROWS } from "./genuine.ts";
import { changeProduct, genuinePolicy } from "./policies.ts";

describe("genuine SNP reports", () => {
  for (const row of SNP_ROWS) {
    const outcome = row.fails.length === 0 ? "is accepted" : `fails ${row.fails.join(", ")}`;
    it(`${row.report} with ${row.vek} at ${row.at} ${outcome}`, async () => {
      for (const crypto of [nodeCrypto(), webCrypto()]) {
        const verdict = await appraise(appraisalOf(row, crypto));
        assert.deepEqual(failures(verdict), row.fails);
        assert.equal(verdict.accepted, row.fails.length === 0);
      }
    });
  }

  it("Milan is denied unless its chip is listed", async () => {
    const chip = Buffer.from(REPORT.decode(vector("trustee/snp/test-report.bin")).chipId).toString("hex");
    assert.match(chip, /^c38427a30d4c7af9/);
    const row = {
      report: "trustee/snp/test-report.bin",
      vek: "trustee/snp/test-vcek.der",
      at: "2025-01-01T00:00:00Z",
    };
    const listed = await appraise(
      appraisalOf(
        {
          ...row,
          fails: [],
          change: changeProduct("Milan", { chips: { anyOf: [chip] } }),
        },
        nodeCrypto(),
      ),
    );
    assert.ok(listed.accepted);
    const other = changeProduct("Milan", { chips: { anyOf: ["00".repeat(64)] } });
    assert.deepEqual(
      failures(await appraise(appraisalOf({ ...row, fails: [], change: other }, nodeCrypto()))),
      ["snp.chip-allowed"],
    );
    assert.throws(
      () => genuinePolicy("Milan", changeProduct("Milan", { acceptedRisks: [] })),
      /tees\.sev-snp\.products\.Milan\.chips: Milan's root seed/,
    );
  });

  it("a genuine Turin VCEK parses, and is signed by AMD's Turin chain", async () => {
    const crypto = nodeCrypto();
    const vek = readVek(parseCertificate(vector("virtee-sev/certs_data/vcek_turin.der")));
    assert.deepEqual(vek.tcb, { fmc: 0, bootloader: 0, tee: 0, snp: 0, microcode: 9 });
    assert.equal(Buffer.from(vek.hwid ?? []).toString("hex"), "1e550a8ee5cf9f4d");
    const ask = parseCertificate(amdChain("Turin").ask);
    assert.ok(await isSignedBy(crypto, vek.certificate, ask.publicKey));
    assert.ok(isValidAt(vek.certificate, Date.parse("2025-01-01T00:00:00Z")));
  });

  it("synthetic VCEKs are refused: one by its encoding, one by its signature", async () => {
    const wrapped = attempt(() => readVek(parseCertificate(vector("trustee/snp/test-vcek-invalid-new.der"))));
    assert.ok(!wrapped.ok);
    assert.match(wrapped.refusal.why, /HWID is of 66 bytes|HWID/);
    const legacy = parseCertificate(vector("trustee/snp/test-vcek-invalid-legacy.der"));
    const ask = parseCertificate(amdChain("Milan").ask);
    assert.equal(await isSignedBy(nodeCrypto(), legacy, ask.publicKey), false);
  });
});

function digest(certificate: Certificate): string {
  return createHash("sha256").update(certificate.der).digest("hex");
}

describe("AMD's certificate chains", () => {
  const CHAINS = [
    "go-sev-guest/trust/ask_ark_genoa.pem",
    "go-sev-guest/trust/ask_ark_genoa_vlek.pem",
    "go-sev-guest/trust/ask_ark_milan.pem",
    "go-sev-guest/trust/ask_ark_milan_vlek.pem",
    "go-sev-guest/trust/ask_ark_turin_vcek.pem",
    "go-sev-guest/trust/ask_ark_turin_vlek.pem",
    "go-sev-guest/verify-testdata/milan.testcer",
    "go-sev-guest/verify-testdata/milanvlek.testcer",
    "trustee/snp/chains/genoa_ask_ark_asvk.pem",
    "trustee/snp/chains/milan_ask_ark_asvk.pem",
    "trustee/snp/chains/turin_ask_ark_asvk.pem",
    "virtee-sev/certs_data/cert_chain_milan",
    "virtee-sev/certs_data/cert_chain_turin",
    "x-automata-snp/risc0/vcek_issuer.pem",
    "x-automata-snp/x509/vcek_milan_cert_chain.pem",
    "x-automata-snp/x509/vlek_milan_cert_chain.pem",
  ];
  const pinned = new Set<string>(Object.values(AMD_ROOTS));

  for (const path of CHAINS)
    it(`${path} verifies up to a pinned root`, async () => {
      const certificates = parsePemCertificates(vectorText(path));
      const root = certificates.find((certificate) => pinned.has(digest(certificate)));
      assert.ok(root);
      for (const crypto of [nodeCrypto(), webCrypto()])
        for (const certificate of certificates)
          assert.ok(
            await isSignedBy(crypto, certificate, root.publicKey),
            commonName(certificate.subject) ?? "",
          );
    });

  for (const product of PRODUCTS)
    it(`virtee's ${product} root is the pinned one, and signs its ASK`, async () => {
      const folder = `virtee-sev/builtin/${product.toLowerCase()}`;
      const [root] = parsePemCertificates(vectorText(`${folder}-ark.pem`));
      const [ask] = parsePemCertificates(vectorText(`${folder}-ask.pem`));
      assert.ok(root && ask);
      assert.equal(digest(root), AMD_ROOTS[product]);
      assert.ok(await isSignedBy(nodeCrypto(), ask, root.publicKey));
      // another product's root did not
      const other = PRODUCTS.find((name) => name !== product) ?? product;
      const [foreign] = parsePemCertificates(vectorText(`virtee-sev/builtin/${other.toLowerCase()}-ark.pem`));
      assert.ok(foreign);
      assert.equal(await isSignedBy(nodeCrypto(), ask, foreign.publicKey), false);
    });

  const VEKS = [
    ["azure-cvm-tooling/certs.pem", "2023-01-02"],
    ["x-automata-snp/risc0/vcek.pem", "2025-01-01"],
    ["x-automata-snp/x509/vcek.der", "2025-01-01"],
    ["trustee/snp/test-vcek.der", "2025-01-01"],
    ["trustee/snp/test-vlek.der", "2025-01-01"],
  ] as const;
  for (const [path, at] of VEKS)
    it(`${path} is AMD's, and valid at ${at}`, async () => {
      const vek = readVek(parseCertificate(der(path)));
      const { ask, asvk } = amdChain("Milan");
      const issuer = parseCertificate(vek.signer === "VLEK" ? asvk : ask);
      assert.ok(await isSignedBy(nodeCrypto(), vek.certificate, issuer.publicKey));
      assert.ok(isValidAt(vek.certificate, Date.parse(at)));
    });
});
