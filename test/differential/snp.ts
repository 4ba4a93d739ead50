/**
 * What SEV-SNP verifiers are compared over: genuine reports, the twin's, and mutants of them; and our verdicts. All get the
 * same report, chain and time; the policy checks nothing but what the peers speak of, too.
 */
import * as fc from "fast-check";
import { appraise, type Appraisal } from "../../agent/attest/appraise.ts";
import { splitPem } from "../../agent/attest/base64.ts";
import type { Policy } from "../../agent/attest/policy.ts";
import { parseCertificateTable } from "../../agent/attest/snp/certificate-table.ts";
import type { Product } from "../../agent/attest/snp/product.ts";
import { failures } from "../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { changeProduct, genuinePolicy } from "../attest/snp/policies.ts";
import { fieldMutation, mutation, resign, right, unsigned, type Mutation } from "../attest/snp/mutants.ts";
import { vector, vectorText } from "../attest/vectors.ts";
import { amdCa, signReport } from "../twin/amd-ca.ts";
import type { Trial } from "./compare.ts";
import { snpRequest, type SnpSample } from "./requests.ts";

const policies = new Map<string, Policy>();

function policyOf(product: Product, twin: boolean): Policy {
  const name = `${product} ${twin}`;
  let policy = policies.get(name);
  if (policy === undefined) {
    const root = twin ? { sha256: amdCa(product).arkSha256, reason: "twin" } : "amd";
    policy = genuinePolicy(product, (snp) => {
      const anyone = { ...snp, vmpl: { unchecked: "not the point" } };
      return changeProduct(product, { root })({
        ...anyone,
        signers: {
          vcek: "allowed",
          vlek: { cspIds: ["CN=cc-us-east-2.amazonaws.com", "CN=cc-twin.example"] },
        },
      });
    });
    policies.set(name, policy);
  }
  return policy;
}

const crypto = nodeCrypto();
const none = new Uint8Array(0);

async function ours(sample: SnpSample): Promise<string[]> {
  const { product, at, report, vek, chain } = sample;
  const input: Appraisal = {
    evidence: { tee: "sev-snp", report, auxiliary: none, eventLog: none },
    collateral: { snp: { [product]: { ...chain, vek } } },
    policy: policyOf(product, !sample.from.startsWith("genuine")),
    at,
    expect: { reportData: { unchecked: "not the point" } },
    crypto,
  };
  const verdict = await appraise(input);
  return verdict.accepted ? [] : [...failures(verdict)];
}

function genuine(): SnpSample[] {
  const [ask = none, ark = none, asvk = none] = splitPem(
    vectorText("trustee/snp/chains/milan_ask_ark_asvk.pem"),
    "chain",
  ).map((block) => block.der);
  const pairs: readonly (readonly [report: string, vek: string, at: string, vlek?: boolean])[] = [
    [
      "go-sev-guest/verify-testdata/attestation.bin",
      "go-sev-guest/verify-testdata/vcek.testcer",
      "2024-01-01",
    ],
    ["trustee/snp/test-report.bin", "trustee/snp/test-vcek.der", "2025-01-01"],
    ["trustee/snp/test-vlek-report.bin", "trustee/snp/test-vlek.der", "2025-06-01", true],
    ["virtee-sev/certs_data/report_milan.bin", "virtee-sev/certs_data/vcek_milan.der", "2025-01-01"],
    ["x-automata-snp/risc0/report.bin", "x-automata-snp/risc0/vek_from_output.der", "2025-01-01"],
    ["x-automata-snp/risc0/report.bin", "x-automata-snp/x509/vcek.der", "2025-01-01"],
    ["virtee-sev/certs_data/report_milan.bin", "virtee-sev/certs_data/vcek_milan.der", "2031-01-01"],
  ];
  return pairs.map(([report, vek, at, vlek = false]) => {
    const bytes = vector(vek);
    const der = bytes[0] === 0x30 ? bytes : (splitPem(vectorText(vek), vek)[0]?.der ?? none);
    return {
      from: `genuine: ${report} (${at})`,
      product: "Milan",
      at: Date.parse(at),
      report: vector(report),
      vek: der,
      vlek,
      chain: { ask, ark, asvk },
    };
  });
}

function twins(): SnpSample[] {
  return (["Milan", "Genoa", "Turin"] as const).flatMap((product) =>
    (["VCEK", "VLEK"] as const).map((kind): SnpSample => {
      const ca = amdCa(product);
      const vek = ca.issue({ kind });
      return {
        from: `twin: ${product} ${kind}`,
        product,
        at: right.at,
        report: signReport({ product }, vek),
        vek: vek.der,
        vlek: kind === "VLEK",
        chain: { ark: ca.ark.der, ask: ca.ask.der, asvk: ca.asvk.der },
      };
    }),
  );
}

/** Where a mutation goes; what was signed over the place is signed anew where it says so. */
const PLACES = ["field, signed", "report, signed", "report", "VCEK", "ASK"] as const;
type Place = (typeof PLACES)[number];
const WEIGHT: Readonly<Record<Place, number>> = {
  "field, signed": 8,
  "report, signed": 4,
  report: 2,
  VCEK: 4,
  ASK: 1,
};

function mutants(count: number, seed: number): SnpSample[] {
  const ca = amdCa("Genoa");
  const vek = parseCertificateTable(right.evidence.auxiliary).vcek ?? none;
  const chain = { ark: ca.ark.der, ask: ca.ask.der, asvk: ca.asvk.der };
  const { report } = right.evidence;
  const common = { product: "Genoa", at: right.at, vlek: false, report, vek, chain } as const;
  const mutate = (place: Place, change: Mutation): Partial<SnpSample> | undefined => {
    const changed = <T>(before: Uint8Array, use: (after: Uint8Array) => T): T | undefined => {
      const after = change(before);
      return after === undefined ? undefined : use(after);
    };
    if (place === "VCEK") return changed(vek, (after) => ({ vek: after }));
    if (place === "ASK") return changed(chain.ask, (ask) => ({ chain: { ...chain, ask } }));
    if (place === "report") return changed(report, (after) => ({ report: after }));
    // what is too short can't be signed
    return changed(unsigned, (after) =>
      after.length === unsigned.length ? { report: resign(after) } : undefined,
    );
  };
  const kinds = fc.oneof(
    ...PLACES.map((place) => ({
      weight: WEIGHT[place],
      arbitrary: fc.tuple(fc.constant(place), place === "field, signed" ? fieldMutation : mutation),
    })),
  );
  return fc.sample(kinds, { seed, numRuns: count }).flatMap(([place, change], i) => {
    const changes = mutate(place, change);
    return changes === undefined ? [] : [{ ...common, from: `mutant (${place}): ${i}`, ...changes }];
  });
}

/** Each sample with our verdict and the peers' request. */
export async function snpTrials(count: number, seed: number): Promise<Trial[]> {
  const samples = [...genuine(), ...twins(), ...mutants(count, seed)];
  const trials: Trial[] = [];
  for (const sample of samples)
    trials.push({
      from: sample.from,
      failed: await ours(sample),
      status: "",
      request: snpRequest(sample),
      report: sample.report,
    });
  return trials;
}
