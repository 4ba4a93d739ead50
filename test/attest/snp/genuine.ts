/** Genuine AMD reports of `test/vectors`, at times inside and outside their windows, with what must come out. */
import assert from "node:assert/strict";
import type { Appraisal, Collateral } from "../../../agent/attest/appraise.ts";
import { splitPem } from "../../../agent/attest/base64.ts";
import type { Crypto } from "../../../agent/attest/crypto.ts";
import type { Product } from "../../../agent/attest/snp/product.ts";
import { REPORT } from "../../../agent/attest/snp/report.ts";
import { vector, vectorText } from "../vectors.ts";
import { genuinePolicy, type Change } from "./policies.ts";

const AMD_CHAIN: Readonly<Record<Product, string>> = {
  Milan: "trustee/snp/chains/milan_ask_ark_asvk.pem",
  Genoa: "trustee/snp/chains/genoa_ask_ark_asvk.pem",
  Turin: "trustee/snp/chains/turin_ask_ark_asvk.pem",
};

export function amdChain(product: Product): { ark: Uint8Array; ask: Uint8Array; asvk: Uint8Array } {
  const [ask, ark, asvk] = splitPem(vectorText(AMD_CHAIN[product]), product).map((block) => block.der);
  assert.ok(ask && ark && asvk);
  return { ark, ask, asvk };
}

const same: Change = (policy) => policy;
const vmpl1: Change = (policy) => ({ ...policy, vmpl: { anyOf: [1] } });

export interface Row {
  readonly report: string;
  readonly vek: string;
  readonly at: string;
  /** Failing predicates, all of them; empty: accepted. */
  readonly fails: readonly string[];
  readonly change?: Change;
}

// report, certificate, time (ISO), expected failures
export const SNP_ROWS: readonly Row[] = [
  // go-sev-guest: debug is allowed in the guest's policy, so the policy refuses it; the signatures are right
  {
    report: "go-sev-guest/verify-testdata/attestation.bin",
    vek: "go-sev-guest/verify-testdata/vcek.testcer",
    at: "2024-01-01T00:00:00Z",
    fails: ["snp.guest-policy"],
  },
  {
    report: "go-sev-guest/verify-testdata/attestation.bin",
    vek: "go-sev-guest/verify-testdata/vcek.testcer",
    at: "2029-09-25T00:00:00Z",
    fails: ["snp.guest-policy", "snp.validity"],
  },
  // trustee: provisional firmware
  {
    report: "trustee/snp/test-report.bin",
    vek: "trustee/snp/test-vcek.der",
    at: "2025-01-01T00:00:00Z",
    fails: [],
  },
  {
    report: "trustee/snp/test-report.bin",
    vek: "trustee/snp/test-vcek.der",
    at: "2023-01-24T00:00:00Z",
    fails: ["snp.validity"],
  },
  {
    report: "trustee/snp/test-report.bin",
    vek: "trustee/snp/test-vcek.der",
    at: "2030-01-25T00:00:00Z",
    fails: ["snp.validity"],
  },
  {
    report: "trustee/snp/test-report.bin",
    vek: "trustee/snp/test-vcek.der",
    at: "2025-01-01T00:00:00Z",
    change: (policy) => ({ ...policy, provisionalFirmware: "denied" }),
    fails: ["snp.provisional-firmware"],
  },
  // AWS: VLEK, version 3, VMPL 1, valid for one year
  {
    report: "trustee/snp/test-vlek-report.bin",
    vek: "trustee/snp/test-vlek.der",
    at: "2025-06-01T00:00:00Z",
    change: vmpl1,
    fails: [],
  },
  {
    report: "trustee/snp/test-vlek-report.bin",
    vek: "trustee/snp/test-vlek.der",
    at: "2025-06-01T00:00:00Z",
    fails: ["snp.vmpl"],
  },
  {
    report: "trustee/snp/test-vlek-report.bin",
    vek: "trustee/snp/test-vlek.der",
    at: "2025-12-11T00:00:00Z",
    change: vmpl1,
    fails: ["snp.validity"],
  },
  {
    report: "trustee/snp/test-vlek-report.bin",
    vek: "trustee/snp/test-vlek.der",
    at: "2025-06-01T00:00:00Z",
    change: (policy) => ({
      ...vmpl1(policy),
      signers: { vcek: "allowed", vlek: { cspIds: ["CN=another"] } },
    }),
    fails: ["snp.signer-allowed"],
  },
  {
    report: "virtee-sev/certs_data/report_milan.bin",
    vek: "virtee-sev/certs_data/vcek_milan.der",
    at: "2026-01-01T00:00:00Z",
    fails: [],
  },
  {
    report: "virtee-sev/certs_data/report_milan.bin",
    vek: "virtee-sev/certs_data/vcek_milan.der",
    at: "2023-04-02T00:00:00Z",
    fails: ["snp.validity"],
  },
  // old firmware under AMD's bulletins
  {
    report: "virtee-sev/certs_data/report_milan.bin",
    vek: "virtee-sev/certs_data/vcek_milan.der",
    at: "2026-01-01T00:00:00Z",
    change: (policy) => ({ ...policy, bulletins: "enforced" }),
    fails: ["snp.bulletins"],
  },
  {
    report: "x-automata-snp/risc0/report.bin",
    vek: "x-automata-snp/risc0/vek_from_output.der",
    at: "2025-01-01T00:00:00Z",
    fails: [],
  },
  {
    report: "x-automata-snp/risc0/report.bin",
    vek: "x-automata-snp/risc0/vek_from_output.der",
    at: "2031-11-20T00:00:00Z",
    fails: ["snp.validity"],
  },
  // a genuine VCEK, of another chip with the same TCB
  {
    report: "x-automata-snp/risc0/report.bin",
    vek: "x-automata-snp/x509/vcek.der",
    at: "2025-01-01T00:00:00Z",
    fails: ["snp.chip-id", "snp.report-signature"],
  },
  {
    report: "azure-cvm-tooling/hcl-report-snp.snp_report.bin",
    vek: "azure-cvm-tooling/certs.pem",
    at: "2024-01-01T00:00:00Z",
    fails: ["snp.chip-id", "snp.report-signature"],
  },
  // another product's certificate
  {
    report: "trustee/snp/test-vlek-report.bin",
    vek: "virtee-sev/certs_data/vcek_turin.der",
    at: "2025-06-01T00:00:00Z",
    change: vmpl1,
    fails: ["snp.certificate-kind", "snp.certificate-product"],
  },
];

export function der(path: string): Uint8Array {
  const bytes = vector(path);
  if (bytes[0] === 0x30) return bytes;
  const [first] = splitPem(vectorText(path), path);
  assert.ok(first);
  return first.der;
}

/** The appraisal that the row is about. */
export function appraisalOf(row: Row, crypto: Crypto): Appraisal {
  const report = vector(row.report);
  const collateral: Collateral = { snp: { Milan: { ...amdChain("Milan"), vek: der(row.vek) } } };
  return {
    evidence: { tee: "sev-snp", report, auxiliary: new Uint8Array(0), eventLog: new Uint8Array(0) },
    collateral,
    policy: genuinePolicy("Milan", row.change ?? same),
    at: Date.parse(row.at),
    expect: { reportData: REPORT.decode(report).reportData },
    crypto,
  };
}
