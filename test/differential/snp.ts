/**
 * Differs from go-sev-guest over genuine reports, right twins' and mutants of them: `node test/differential/snp.ts [COUNT]`.
 * Both get the same report, chain and time; here the policy checks nothing but what the other's `verify` speaks of, too.
 * It prints how the two answers go together, by our predicate, and fails where we accept what the peer refuses, unless that
 * is known and reasoned below. Needs Go; its module is fetched and built into the cache.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { appraise, type Appraisal } from "../../agent/attest/appraise.ts";
import { splitPem } from "../../agent/attest/base64.ts";
import type { Policy } from "../../agent/attest/policy.ts";
import { parseCertificateTable } from "../../agent/attest/snp/certificate-table.ts";
import { REPORT, type Report } from "../../agent/attest/snp/report.ts";
import type { Product } from "../../agent/attest/snp/product.ts";
import { failures } from "../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { changeProduct, genuinePolicy } from "../attest/snp/policies.ts";
import { fieldMutation, mutation, resign, right, unsigned, type Mutation } from "../attest/snp/mutants.ts";
import { vector, vectorText } from "../attest/vectors.ts";
import { amdCa, signReport } from "../twin/amd-ca.ts";

const HERE = import.meta.dirname;

/** What the peer refuses and we accept, with the reason why we do. */
const KNOWN: readonly (readonly [message: RegExp, holds: (report: Report) => boolean, why: string])[] = [
  [
    /not an AMD KDS OID: 1\.3\.6\.1\.4\.1\.3704\.1\.3\.9/,
    ({ cpuidFamily }) => cpuidFamily === 0x1a,
    "Turin's VCEKs have the extension FMC (test/vectors/virtee-sev/certs_data/vcek_turin.der); the peer does not know it",
  ],
  [
    /ECDSA verification failure/,
    ({ cpuidStepping }) => cpuidStepping > 15,
    "the peer verifies a re-encoding of the report, in which a stepping has 4 bits; we verify the bytes that were signed",
  ],
  [
    /could not be verified by any trusted roots/,
    ({ cpuidModel }) => cpuidModel >= 0xa0 && cpuidModel <= 0xaf,
    "Bergamo and Siena are of the Genoa line; the peer knows models 0x10 to 0x1f alone",
  ],
];

interface Sample {
  readonly from: string;
  readonly product: Product;
  readonly at: number;
  readonly report: Uint8Array;
  readonly vek: Uint8Array;
  readonly vlek: boolean;
  readonly chain: { readonly ark: Uint8Array; readonly ask: Uint8Array; readonly asvk: Uint8Array };
}

function build(): string {
  const folder = process.env["SEALET_CACHE"] ?? "/var/cache/sealet";
  const binary = join(folder, "differential", "go-sev-guest");
  mkdirSync(join(folder, "differential"), { recursive: true });
  const { status } = spawnSync("go", ["build", "-trimpath", "-o", binary, "."], {
    cwd: join(HERE, "go-sev-guest"),
    stdio: "inherit",
  });
  if (status !== 0) throw new Error("go-sev-guest does not build");
  return binary;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** The peer's answers, in order. */
function askPeer(binary: string, samples: readonly Sample[]): string[] {
  const lines = samples.map(({ product, at, report, vek, vlek, chain }) =>
    JSON.stringify({
      Product: product,
      At: Math.floor(at / 1000),
      Report: base64(report),
      Vek: base64(vek),
      Vlek: vlek,
      Ark: base64(chain.ark),
      Ask: base64(chain.ask),
      Asvk: base64(chain.asvk),
    }),
  );
  const { stdout, status } = spawnSync(binary, {
    input: `${lines.join("\n")}\n`,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error("the peer failed");
  return stdout.trimEnd().split("\n");
}

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

async function ours(sample: Sample): Promise<string[]> {
  const { product, at, report, vek, chain } = sample;
  const input: Appraisal = {
    evidence: { tee: "sev-snp", report, auxiliary: none, eventLog: none },
    collateral: { snp: { [product]: { ...chain, vek } } },
    policy: policyOf(product, sample.from !== "genuine"),
    at,
    expect: { reportData: { unchecked: "not the point" } },
    crypto,
  };
  const verdict = await appraise(input);
  return verdict.accepted ? [] : [...failures(verdict)];
}

function genuine(): Sample[] {
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
      from: "genuine",
      product: "Milan",
      at: Date.parse(at),
      report: vector(report),
      vek: der,
      vlek,
      chain: { ask, ark, asvk },
    };
  });
}

function twins(): Sample[] {
  return (["Milan", "Genoa", "Turin"] as const).flatMap((product) =>
    (["VCEK", "VLEK"] as const).map((kind): Sample => {
      const ca = amdCa(product);
      const vek = ca.issue({ kind });
      return {
        from: "twin",
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

function mutants(count: number, seed: number): Sample[] {
  const ca = amdCa("Genoa");
  const vek = parseCertificateTable(right.evidence.auxiliary).vcek ?? none;
  const chain = { ark: ca.ark.der, ask: ca.ask.der, asvk: ca.asvk.der };
  const common = { product: "Genoa", at: right.at, vlek: false } as const;
  const kinds = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(fc.constant("field, signed"), fieldMutation) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("bytes, signed"), mutation) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("report"), mutation) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("certificate"), mutation) },
  );
  return fc.sample(kinds, { seed, numRuns: count }).flatMap(([from, change]: readonly [string, Mutation]) => {
    const signed = from.endsWith("signed");
    const before = from === "certificate" ? vek : signed ? unsigned : right.evidence.report;
    const after = change(before);
    if (after === undefined || (signed && after.length !== before.length)) return [];
    if (from === "certificate")
      return [{ ...common, from, report: right.evidence.report, vek: after, chain }];
    return [{ ...common, from, report: signed ? resign(after) : after, vek, chain }];
  });
}

/** Which of the table's rows differ from the right report's. */
function changedRows({ report }: Sample): string {
  return REPORT.rows
    .filter(
      ([, offset, size]) =>
        offset < 0x2a0 &&
        Buffer.compare(report.subarray(offset, offset + size), unsigned.subarray(offset, offset + size)) !==
          0,
    )
    .map(
      ([name, offset, size]) =>
        `${name} ${Buffer.from(report.subarray(offset, offset + size))
          .toString("hex")
          .slice(0, 32)}`,
    )
    .join(", ");
}

const count = Number(process.argv[2] ?? 3000);
const seed = Number(process.argv[3] ?? 1);
const samples = [...genuine(), ...twins(), ...mutants(count, seed)];
const theirs = askPeer(build(), samples);
const table = new Map<string, { count: number; example: string }>();
const reasons = new Map<string, number>();
let bad = 0;
for (const [i, sample] of samples.entries()) {
  const failed = await ours(sample);
  const their = theirs[i] ?? "nothing";
  const us = failed.length === 0 ? "accepted" : `refused: ${failed[0] ?? ""}`;
  const them = their === "accepted" ? "accepted" : their.includes("PANIC") ? "panics" : "refused";
  const key = `${sample.from.padEnd(14)} we ${us.padEnd(36)} peer ${them}`;
  const alone = failed.length === 0 && them !== "accepted";
  const known = alone
    ? KNOWN.find(([message, holds]) => message.test(their) && holds(REPORT.decode(sample.report)))
    : undefined;
  if (known !== undefined) reasons.set(known[2], (reasons.get(known[2]) ?? 0) + 1);
  if (alone && known === undefined) {
    bad++;
    console.log(`We alone accept sample ${i} (${sample.from}): ${their}; ${changedRows(sample)}`);
  }
  const entry = table.get(key);
  if (entry === undefined) table.set(key, { count: 1, example: their });
  else entry.count++;
}
for (const [key, { count: times }] of [...table].toSorted(([a], [b]) => a.localeCompare(b)))
  console.log(`${String(times).padStart(6)}  ${key}`);
for (const [why, times] of reasons)
  console.log(`${String(times).padStart(6)}  accepted by us alone, because ${why}`);
if (bad > 0) process.exitCode = 1;
