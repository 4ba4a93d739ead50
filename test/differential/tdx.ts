/**
 * What TDX verifiers are compared over: genuine quotes, the twin's right and wrong ones, and mutants of quote and collateral;
 * and our verdicts. All get the same quote, collateral and time; the policy checks nothing but what the peers speak of, too.
 */
import * as fc from "fast-check";
import { hex, utf8 } from "../../agent/attest/bytes.ts";
import { POLICY_ATTRIBUTES } from "../../agent/attest/tdx/attributes.ts";
import type { SignedDocument } from "../../agent/attest/tdx/facts.ts";
import { tdxPolicy } from "../../agent/attest/tdx/policy.ts";
import { BODY, HEADER, QE_REPORT } from "../../agent/attest/tdx/quote.ts";
import { TCB_STATUS } from "../../agent/attest/tdx/tcb.ts";
import { verifyTdx } from "../../agent/attest/tdx/verify.ts";
import { failures } from "../../agent/attest/verdict.ts";
import { parsePemCertificates } from "../../agent/attest/x509.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { COLLATERAL_CASES } from "../attest/tdx/cases-collateral.ts";
import { QUOTE_CASES } from "../attest/tdx/cases-quote.ts";
import { GENUINE, vector } from "../attest/tdx/genuine.ts";
import { ca, COLLATERAL } from "../attest/tdx/twin.ts";
import { FMSPC, NEW_TCB, OLD_TCB, pem, TWIN_TIME } from "../twin/intel-ca.ts";
import type { Trial } from "./compare.ts";
import { tdxRequest, type TdxSample } from "./requests.ts";

const [ROOT] = [vector("dcap-qvl/trust/TrustedRootCA.der")];
const GENUINE_CRL_CHAIN = utf8(vector("go-tdx-guest/testdata/pckCrlIssuerChain.pem"), "chain");
const [, GENUINE_ROOT] = parsePemCertificates(GENUINE_CRL_CHAIN);
const TWIN_CRL_CHAIN = pem(ca.platform.der, ca.root.der);

const genuine: TdxSample[] = (
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
  from: `genuine: ${file} (${at})`,
  quote: vector(file),
  collateral: GENUINE[collateral],
  at: Date.parse(at),
  root: GENUINE_ROOT?.der ?? ROOT,
  pckCrlChain: GENUINE_CRL_CHAIN,
}));

const twin = { collateral: COLLATERAL, at: TWIN_TIME, root: ca.root.der, pckCrlChain: TWIN_CRL_CHAIN };

const right: TdxSample[] = [
  { ...twin, from: "twin: v4", quote: ca.quote() },
  { ...twin, from: "twin: v5 type 2", quote: ca.quote({ version: 5, bodyType: 2 }) },
  { ...twin, from: "twin: v5 type 3", quote: ca.quote({ version: 5, bodyType: 3 }) },
  { ...twin, from: "twin: v5 type 4", quote: ca.quote({ version: 5, bodyType: 4 }) },
  { ...twin, from: "twin: with zeros after it", quote: ca.quote({ trailing: new Uint8Array(100) }) },
];

const wrong: TdxSample[] = [...QUOTE_CASES, ...COLLATERAL_CASES].map(
  ([code, what, { quote = {}, input }]) => ({
    ...twin,
    from: `case: ${code}, ${what}`,
    quote: typeof quote === "function" ? quote() : ca.quote(quote),
    collateral: input?.().collateral ?? COLLATERAL,
  }),
);

const STRUCTURES = { header: HEADER, td: BODY[3], qeReport: QE_REPORT } as const;
type Made = Pick<TdxSample, "quote"> & Partial<Pick<TdxSample, "collateral">>;

/** Anything, or a single bit, or a small number. */
const fieldValue = fc.oneof(
  fc.uint8Array({ minLength: 64, maxLength: 64 }),
  fc.nat({ max: 511 }).map((bit) => new Uint8Array(64).fill(1 << (bit % 8), bit >> 3, (bit >> 3) + 1)),
  fc.nat({ max: 255 }).map((value) => new Uint8Array(64).fill(value, 0, 1)),
);

/** Another value for one field, signed by who signs it. */
const fields: fc.Arbitrary<Made> = fc
  .tuple(fc.constantFrom("header", "td", "qeReport"), fc.nat(), fieldValue)
  .map(([place, at, value]) => {
    const { rows } = STRUCTURES[place];
    const [row = "", , size = 0] = rows[at % rows.length] ?? [];
    return { quote: ca.quote({ version: 5, bodyType: 3, [place]: { [row]: value.slice(0, size) } }) };
  });

/** SVNs about those of the twin's TCB info: which level is reached, of platform, module and quoting enclave. */
const svns: fc.Arbitrary<Made> = fc
  .record({
    base: fc.constantFrom(NEW_TCB, OLD_TCB),
    deltas: fc.array(fc.tuple(fc.nat({ max: 8 }), fc.constantFrom(-1, 1, 2)), { maxLength: 2 }),
    pceSvn: fc.constantFrom(12, 13, 13, 13, 14),
    tee: fc.tuple(
      fc.integer({ min: 1, max: 8 }),
      fc.constantFrom(0, 1, 1, 3, 4),
      fc.constantFrom(1, 2, 3, 4),
    ),
    isvSvn: fc.integer({ min: 3, max: 8 }),
  })
  .map(({ base, deltas, pceSvn, tee, isvSvn }) => {
    const components = [...base.components];
    for (const [i, delta] of deltas) components[i] = Math.max(0, (components[i] ?? 0) + delta);
    const teeTcbSvn = new Uint8Array(16);
    teeTcbSvn.set(tee);
    const pck = ca.pck({ tcb: { components, pceSvn } });
    return { quote: ca.quote({ pck, td: { teeTcbSvn }, qeReport: { isvSvn } }) };
  });

const edits = fc.array(fc.tuple(fc.nat({ max: 8191 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 });

function edited(bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Uint8Array {
  const changed = bytes.slice();
  for (const [at, value] of changes) changed[at % changed.length] = value;
  return changed;
}

const PLAIN = [ca.quote(), ca.quote({ version: 5, bodyType: 3 })] as const;
const bytesOfQuote: fc.Arbitrary<Made> = fc
  .tuple(fc.constantFrom(...PLAIN), edits)
  .map(([base, changes]) => ({ quote: edited(base, changes) }));

const PARTS = ["rootCrl", "pckCrl", "tcbInfo", "tcbInfo chain", "qeIdentity", "qeIdentity chain"] as const;
const bytesOfCollateral: fc.Arbitrary<Made> = fc
  .tuple(fc.constantFrom(...PARTS), edits)
  .map(([part, changes]) => {
    const { tcbInfo, qeIdentity, rootCrl, pckCrl } = COLLATERAL;
    const change = (bytes: Uint8Array | undefined) => edited(bytes ?? new Uint8Array(1), changes);
    const document = (from: SignedDocument | undefined): SignedDocument => {
      const { body, issuerChain } = from ?? { body: new Uint8Array(1), issuerChain: new Uint8Array(1) };
      return part.endsWith("chain")
        ? { body, issuerChain: change(issuerChain) }
        : { body: change(body), issuerChain };
    };
    const collateral = {
      tcbInfo: part.startsWith("tcbInfo") ? new Map([[FMSPC, document(tcbInfo.get(FMSPC))]]) : tcbInfo,
      qeIdentity: part.startsWith("qeIdentity") ? document(qeIdentity) : qeIdentity,
      rootCrl: part === "rootCrl" ? change(rootCrl) : rootCrl,
      pckCrl: part === "pckCrl" ? { ...pckCrl, platform: change(pckCrl.platform) } : pckCrl,
    };
    return { quote: PLAIN[0], collateral };
  });

const MUTANTS = [
  ["field, signed", 3, fields],
  ["SVNs, signed", 3, svns],
  ["quote", 2, bytesOfQuote],
  ["collateral", 2, bytesOfCollateral],
] as const;

function mutants(count: number, seed: number): TdxSample[] {
  const kinds = MUTANTS.map(([kind, weight, made]) => ({
    weight,
    arbitrary: made.map((sample) => ({ kind, sample })),
  }));
  return fc
    .sample(fc.oneof(...kinds), { seed, numRuns: count })
    .map(({ kind, sample }, i) => ({ ...twin, from: `mutant (${kind}): ${i}`, ...sample }));
}

const crypto = nodeCrypto();
const unchecked = { unchecked: "not the point" };

interface Answer {
  readonly failed: readonly string[];
  readonly status: string;
}

async function ours({ quote, collateral, at, root }: TdxSample): Promise<Answer> {
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

/** Each sample with our verdict and the peers' request. */
export async function tdxTrials(count: number, seed: number): Promise<Trial[]> {
  const samples = [...genuine, ...right, ...wrong, ...mutants(count, seed)];
  const trials: Trial[] = [];
  for (const sample of samples)
    trials.push({ from: sample.from, ...(await ours(sample)), request: tdxRequest(sample) });
  return trials;
}
