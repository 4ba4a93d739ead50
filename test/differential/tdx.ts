/**
 * Differs from go-tdx-guest and dcap-qvl over genuine quotes, the twin's right and wrong ones, and mutants: `node
 * test/differential/tdx.ts [COUNT [SEED]]`. All get the same quote, collateral and time; here the policy checks nothing but
 * what the peers speak of, too. It prints how the answers go together, and fails where we accept what a peer refuses, or
 * with another status, unless that is known and reasoned below. Needs Go and Rust; what they build lies in the cache.
 */
import { spawnSync } from "node:child_process";
import * as fc from "fast-check";
import { hex, utf8 } from "../../agent/attest/bytes.ts";
import { POLICY_ATTRIBUTES } from "../../agent/attest/tdx/attributes.ts";
import { tdxPolicy } from "../../agent/attest/tdx/policy.ts";
import { TCB_STATUS } from "../../agent/attest/tdx/tcb.ts";
import { verifyTdx } from "../../agent/attest/tdx/verify.ts";
import { failures } from "../../agent/attest/verdict.ts";
import { parsePemCertificates } from "../../agent/attest/x509.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { COLLATERAL_CASES } from "../attest/tdx/cases-collateral.ts";
import { QUOTE_CASES } from "../attest/tdx/cases-quote.ts";
import { GENUINE, vector } from "../attest/tdx/genuine.ts";
import { ca, COLLATERAL } from "../attest/tdx/twin.ts";
import { pem, TWIN_TIME } from "../twin/intel-ca.ts";
import { build, PEERS, requestLine, type Peer, type Sample } from "./tdx-peers.ts";

/** What the peer refuses and we accept, by its message, with the reason why we do. */
const KNOWN: readonly (readonly [message: RegExp, why: string])[] = [
  [/quote format not supported/, "quotes of version 5 are Intel's too; the peer reads version 4 alone"],
  [
    /FMSPC from PCK Certificate.* is not equal to FMSPC value/,
    "Intel writes the FMSPC's hexadecimal digits in either case; the peer compares the text",
  ],
  [
    /SEPT_VE_DISABLE is not enabled/,
    "the peer demands it always; here the policy says which attributes are required",
  ],
  [
    /TD migration is enabled/,
    "the peer refuses it always; here the policy says which attributes are allowed",
  ],
];

const [ROOT] = [vector("dcap-qvl/trust/TrustedRootCA.der")];
const GENUINE_CRL_CHAIN = utf8(vector("go-tdx-guest/testdata/pckCrlIssuerChain.pem"), "chain");
const [, GENUINE_ROOT] = parsePemCertificates(GENUINE_CRL_CHAIN);
const TWIN_CRL_CHAIN = pem(ca.platform.der, ca.root.der);

const genuine: Sample[] = (
  [
    ["dcap-qvl/near/quote.bin", "near", "2025-09-15"],
    ["dcap-qvl/near/quote.bin", "near", "2025-10-15"],
    ["dcap-qvl/near/quote.bin", "near", "2025-08-15"],
    ["dcap-qvl/sample/tdx_quote", "b0c0", "2025-07-01"],
    ["dcap-qvl/sample/quote-from-tappd.bin", "b0c0", "2025-07-01"],
    ["dcap-qvl/sample/tdx_quote_outdated", "outdated", "2026-03-01"],
    ["go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat", "october2025", "2025-10-25"],
    ["go-tdx-guest/testdata/quote_v5_sample.dat", "outdated", "2026-03-01"],
    ["go-tdx-guest/testdata/tdx_prod_quote_SPR_E4.dat", "june2023", "2023-06-20"],
    ["trustee/tdx/tdx_quote_4.dat", "june2023", "2023-06-20"],
    ["x-automata-dcap/quotes/alibaba_quote_5.dat", "outdated", "2026-03-01"],
    ["x-automata-dcap/samples/quotev4.bin", "july2025", "2025-07-20"],
  ] as const
).map(([file, collateral, at]) => ({
  from: `genuine ${file}`,
  quote: vector(file),
  collateral: GENUINE[collateral],
  at: Date.parse(at),
  root: GENUINE_ROOT?.der ?? ROOT,
  pckCrlChain: GENUINE_CRL_CHAIN,
}));

const twin = { collateral: COLLATERAL, at: TWIN_TIME, root: ca.root.der, pckCrlChain: TWIN_CRL_CHAIN };

const right: Sample[] = [
  { ...twin, from: "twin v4", quote: ca.quote() },
  { ...twin, from: "twin v5 type 2", quote: ca.quote({ version: 5, bodyType: 2 }) },
  { ...twin, from: "twin v5 type 3", quote: ca.quote({ version: 5, bodyType: 3 }) },
  { ...twin, from: "twin v5 type 4", quote: ca.quote({ version: 5, bodyType: 4 }) },
  { ...twin, from: "twin with zeros after it", quote: ca.quote({ trailing: new Uint8Array(100) }) },
];

const wrong: Sample[] = [...QUOTE_CASES, ...COLLATERAL_CASES].map(([code, what, { quote = {}, input }]) => ({
  ...twin,
  from: `case ${code}: ${what}`,
  quote: typeof quote === "function" ? quote() : ca.quote(quote),
  collateral: input?.().collateral ?? COLLATERAL,
}));

function mutants(count: number, seed: number): Sample[] {
  const bases = [ca.quote(), ca.quote({ version: 5, bodyType: 3 })];
  const edits = fc.array(fc.tuple(fc.nat({ max: 8191 }), fc.nat({ max: 255 })), {
    minLength: 1,
    maxLength: 3,
  });
  return fc
    .sample(fc.tuple(fc.constantFrom(...bases), edits), { seed, numRuns: count })
    .map(([base, changes]) => {
      const quote = base.slice();
      for (const [at, value] of changes) quote[at % quote.length] = value;
      return { ...twin, from: "mutant", quote };
    });
}

function askPeer(binary: string, all: readonly Sample[]): string[] {
  const input = `${all.map(requestLine).join("\n")}\n`;
  const { stdout, status } = spawnSync(binary, { input, encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error("the peer failed");
  return stdout.trimEnd().split("\n");
}

const crypto = nodeCrypto();
const unchecked = { unchecked: "not the point" };

interface Answer {
  readonly failed: readonly string[];
  readonly status: string;
}

async function ours({ quote, collateral, at, root }: Sample): Promise<Answer> {
  const policy = tdxPolicy.parse({
    root: { sha256: hex(await crypto.digest("sha256", root)), reason: "given to all" },
    tcb: {
      accepted: TCB_STATUS.filter((status) => status !== "Revoked" && status !== "NotSupported"),
      minimumDate: unchecked,
      minimumEvaluationDataNumber: 1,
      advisories: unchecked,
    },
    collateral: unchecked,
    platform: { allowed: unchecked, denied: [], configuration: unchecked },
    attributes: { required: [], allowed: POLICY_ATTRIBUTES },
    xfam: { allowed: "0xffffffffffffffff" },
    mrSeam: unchecked,
    mrTd: unchecked,
    mrConfigId: unchecked,
    mrOwner: unchecked,
    mrOwnerConfig: unchecked,
    rtmr: [unchecked, unchecked, unchecked, unchecked],
    serviceTd: "none",
    devices: "none",
    eventLog: unchecked,
  });
  const verdict = await verifyTdx({
    quote,
    collateral,
    policy,
    at,
    expect: { reportData: unchecked },
    crypto,
  });
  const tcb = verdict.claims["tcb"];
  const named =
    typeof tcb === "object" && "status" in tcb && typeof tcb["status"] === "string" ? tcb["status"] : "";
  return { failed: verdict.accepted ? [] : failures(verdict), status: named };
}

const samples = [
  ...genuine,
  ...right,
  ...wrong,
  ...mutants(Number(process.argv[2] ?? 2000), Number(process.argv[3] ?? 1)),
];
const answers: Answer[] = [];
for (const sample of samples) answers.push(await ours(sample));

/** "accepted", with the status where the peer tells it; or "refused" with the first predicate. */
function said({ failed, status }: Answer, peer: Peer): string {
  if (failed.length > 0) return `refused: ${failed[0] ?? ""}`;
  if (peer.status) return `accepted ${status}`;
  return status === "UpToDate" ? "accepted" : "refused: tdx.tcb.status";
}

let bad = 0;
for (const peer of PEERS) {
  const theirs = askPeer(build(peer), samples);
  const table = new Map<string, number>();
  for (const [i, sample] of samples.entries()) {
    const answer = answers[i];
    const their = theirs[i] ?? "nothing";
    if (answer === undefined) continue;
    const us = said(answer, peer);
    const them = their.startsWith("accepted") ? their : their.includes("PANIC") ? "panics" : "refused";
    const known = KNOWN.find(([message]) => message.test(their));
    if (us.startsWith("accepted") && them !== us) {
      if (known === undefined) bad++;
      console.log(
        `${peer.name}: we alone say "${us}" of ${sample.from}: ${their}${known === undefined ? "" : `\n  because ${known[1]}`}`,
      );
    }
    if (!us.startsWith("accepted") && them.startsWith("accepted") && sample.from !== "mutant")
      console.log(
        `${peer.name}: it alone says "${them}" of ${sample.from}; we: ${answer.failed.join(", ") || us}`,
      );
    const row = `${sample.from.split(" ")[0]?.padEnd(8) ?? ""} we ${us.padEnd(36)} ${peer.name} ${them}`;
    table.set(row, (table.get(row) ?? 0) + 1);
  }
  for (const [row, times] of [...table].toSorted(([x], [y]) => x.localeCompare(y)))
    console.log(`${String(times).padStart(6)}  ${row}`);
}
if (bad > 0) process.exitCode = 1;
