/**
 * The verifier's public entry: evidence, endorsements, policy and time in; verdict out. Pure: nothing is fetched, no
 * clock is read, nothing is remembered but what the caller's cache holds. Bad bytes of any kind give a verdict that says
 * where and why, never an exception.
 */
import { unpackAzureAuxiliary } from "./azure/evidence.ts";
import type { AzurePolicy } from "./azure/policy.ts";
import { AZURE_PREDICATES, verifyAzure } from "./azure/verify.ts";
import { CCA_PREDICATES, verifyCca } from "./cca/verify.ts";
import type { Crypto } from "./crypto.ts";
import { attempt } from "./malformed.ts";
import type { Policy, Tee } from "./policy.ts";
import type { Unchecked } from "./policy-fields.ts";
import { SignatureCache, type SignatureCacheOptions } from "./signature-cache.ts";
import type { SnpCollateral } from "./snp/check-chain.ts";
import type { SnpPolicy } from "./snp/policy.ts";
import { SNP_PREDICATES } from "./snp/predicates.ts";
import type { Product } from "./snp/product.ts";
import { verifySnp } from "./snp/verify.ts";
import { TdxMemo } from "./tdx/memo.ts";
import type { TdxPolicy } from "./tdx/policy.ts";
import { TDX_PREDICATES } from "./tdx/predicates.ts";
import { verifyTdx, type TdxCollateral } from "./tdx/verify.ts";
import { Checks, type Verdict } from "./verdict.ts";

/** As it comes over the wire. */
export interface Evidence {
  /** One of `TEES`; anything else is refused. */
  readonly tee: string;
  /** The report, quote or token, byte for byte; Azure: the paravisor's report. */
  readonly report: Uint8Array;
  /** SNP: the extended report's certificate table. Azure: see `azure/evidence.ts`. Empty where there is none. */
  readonly auxiliary: Uint8Array;
  /** TCG2 event log. Empty where there is none. */
  readonly eventLog: Uint8Array;
}

export interface Collateral {
  readonly snp: { readonly [P in Product]?: SnpCollateral | undefined };
  readonly tdx?: TdxCollateral | undefined;
}

export interface Expectation {
  /** 64 bytes (`report-data.ts`); unchecked only for a look at evidence whose origin is not at stake. */
  readonly reportData: Uint8Array | Unchecked;
  /** Digests of the node's initdata; needed where the policy binds to it. */
  readonly initdata?: { readonly sha256: Uint8Array; readonly sha384: Uint8Array } | undefined;
}

/** What a caller keeps between appraisals: facts about signatures, never decisions. Bound to one `Crypto`. */
export class AppraisalCache {
  readonly crypto: Crypto;
  readonly snp: SignatureCache;
  readonly tdx: TdxMemo;

  constructor(crypto: Crypto, options: SignatureCacheOptions = {}) {
    this.crypto = crypto;
    this.snp = new SignatureCache(options);
    this.tdx = new TdxMemo(crypto, options.maxEntries);
  }
}

export interface Appraisal {
  readonly evidence: Evidence;
  readonly collateral: Collateral;
  readonly policy: Policy;
  /** ms since 1970 */
  readonly at: number;
  readonly expect: Expectation;
  readonly crypto: Crypto;
  readonly cache?: AppraisalCache | undefined;
  /**
   * Stop before the first signature where a cheaper predicate failed: for a service that may be flooded. Without it every
   * predicate that can be evaluated is.
   */
  readonly brief?: boolean | undefined;
}

/** What each predicate's code says, for all TEEs. */
export const PREDICATES: Readonly<Record<string, string>> = {
  "evidence.tee": "The evidence is of a kind that is verified here, and that the policy allows",
  ...SNP_PREDICATES,
  ...TDX_PREDICATES,
  ...AZURE_PREDICATES,
  ...CCA_PREDICATES,
};

const NO_TDX_COLLATERAL: TdxCollateral = {
  tcbInfo: new Map(),
  qeIdentity: undefined,
  rootCrl: undefined,
  pckCrl: {},
};

export async function appraise(input: Appraisal): Promise<Verdict> {
  const { evidence, policy, expect, crypto, cache, brief } = input;
  if (cache !== undefined && cache.crypto !== crypto)
    throw new Error("the cache was made for another Crypto");
  const { "sev-snp": snp, tdx, azure = "denied", "arm-cca": cca = "denied" } = policy.tees;
  const { tee, report, auxiliary } = evidence;
  if (tee === ("sev-snp" satisfies Tee) && snp !== "denied")
    return appraiseSnp(input, snp, { report, certificates: auxiliary }, expect.reportData);
  if (tee === ("tdx" satisfies Tee) && tdx !== "denied")
    return appraiseTdx(input, tdx, report, expect.reportData);
  if (tee === ("azure-sev-snp" satisfies Tee) && azure !== "denied" && azure.hardware["sev-snp"] !== "denied")
    return appraiseAzure(input, "sev-snp", azure);
  if (tee === ("azure-tdx" satisfies Tee) && azure !== "denied" && azure.hardware.tdx !== "denied")
    return appraiseAzure(input, "tdx", azure);
  if (tee === ("arm-cca" satisfies Tee) && cca !== "denied")
    return verifyCca({
      token: report,
      policy: cca,
      expect: { reportData: expect.reportData, initdataDigest: expect.initdata?.sha384 },
      crypto,
      brief,
    });
  return refuseTee(tee, {
    "sev-snp": snp !== "denied",
    tdx: tdx !== "denied",
    "azure-sev-snp": azure !== "denied" && azure.hardware["sev-snp"] !== "denied",
    "azure-tdx": azure !== "denied" && azure.hardware.tdx !== "denied",
    "arm-cca": cca !== "denied",
  });
}

function appraiseSnp(
  { collateral, at, expect, crypto, cache, brief }: Appraisal,
  policy: SnpPolicy,
  evidence: { readonly report: Uint8Array; readonly certificates: Uint8Array },
  reportData: Uint8Array | Unchecked,
): Promise<Verdict> {
  return verifySnp({
    ...evidence,
    collateral: collateral.snp,
    policy,
    at,
    expect: { reportData, initdataDigest: expect.initdata?.sha256 },
    crypto,
    cache: cache?.snp,
    brief,
  });
}

function appraiseTdx(
  { evidence, collateral, at, expect, crypto, cache, brief }: Appraisal,
  policy: TdxPolicy,
  quote: Uint8Array,
  reportData: Uint8Array | Unchecked,
): Promise<Verdict> {
  return verifyTdx({
    quote,
    eventLog: evidence.eventLog.length === 0 ? undefined : evidence.eventLog,
    collateral: collateral.tdx ?? NO_TDX_COLLATERAL,
    policy,
    at,
    expect: { reportData, initdataDigest: expect.initdata?.sha384 },
    crypto,
    memo: cache?.tdx,
    brief,
  });
}

/** The TPM's nonce is the digest of the report data: a TPM takes no 64 bytes. */
async function appraiseAzure(
  input: Appraisal,
  tee: "sev-snp" | "tdx",
  policy: AzurePolicy,
): Promise<Verdict> {
  const { evidence, expect, crypto, brief } = input;
  const auxiliary = attempt(() => unpackAzureAuxiliary(evidence.auxiliary));
  const hardware = auxiliary.ok ? auxiliary.value.hardware : new Uint8Array(0);
  const { "sev-snp": snp, tdx } = policy.hardware;
  return verifyAzure({
    tee,
    hclReport: evidence.report,
    tpm: auxiliary.ok ? { ok: true, value: auxiliary.value.tpm } : auxiliary,
    policy,
    nonce:
      "unchecked" in expect.reportData ? expect.reportData : await crypto.digest("sha256", expect.reportData),
    crypto,
    brief,
    verifyHardware: (report, reportData) => {
      if (tee === "sev-snp" && snp !== "denied")
        return appraiseSnp(input, snp, { report, certificates: hardware }, reportData);
      if (tee === "tdx" && tdx !== "denied") return appraiseTdx(input, tdx, hardware, reportData);
      return Promise.resolve(refuseTee(tee, {}));
    },
  });
}

function refuseTee(tee: string, allowed: Readonly<Partial<Record<Tee, boolean>>>): Verdict {
  const checks = new Checks<"evidence.tee">();
  const names = Object.entries(allowed).flatMap(([name, ok]) => (ok ? [name] : []));
  checks.check("evidence.tee", false, names.join(" or ") || "none", tee.slice(0, 64));
  return checks.verdict(tee.slice(0, 64), ["evidence.tee"], {});
}
