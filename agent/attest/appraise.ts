/**
 * The verifier's public entry: evidence, endorsements, policy and time in; verdict out. Pure: nothing is fetched, no
 * clock is read, nothing is remembered but what the caller's cache holds. Bad bytes of any kind give a verdict that says
 * where and why, never an exception.
 */
import type { Crypto } from "./crypto.ts";
import type { Policy, Tee } from "./policy.ts";
import type { Unchecked } from "./policy-fields.ts";
import { SignatureCache, type SignatureCacheOptions } from "./signature-cache.ts";
import type { SnpCollateral } from "./snp/check-chain.ts";
import { SNP_PREDICATES } from "./snp/predicates.ts";
import type { Product } from "./snp/product.ts";
import { verifySnp } from "./snp/verify.ts";
import { TdxMemo } from "./tdx/memo.ts";
import { TDX_PREDICATES } from "./tdx/predicates.ts";
import { verifyTdx, type TdxCollateral } from "./tdx/verify.ts";
import { Checks, type Verdict } from "./verdict.ts";

/** As it comes over the wire. */
export interface Evidence {
  /** "sev-snp" or "tdx"; anything else is refused. */
  readonly tee: string;
  /** The report or quote, byte for byte. */
  readonly report: Uint8Array;
  /** SNP: the extended report's certificate table. Empty where there is none. */
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
};

const NO_TDX_COLLATERAL: TdxCollateral = {
  tcbInfo: new Map(),
  qeIdentity: undefined,
  rootCrl: undefined,
  pckCrl: {},
};

export async function appraise(input: Appraisal): Promise<Verdict> {
  const { evidence, collateral, policy, at, expect, crypto, cache, brief } = input;
  if (cache !== undefined && cache.crypto !== crypto)
    throw new Error("the cache was made for another Crypto");
  const snp = policy.tees["sev-snp"];
  const tdx = policy.tees.tdx;
  if (evidence.tee === ("sev-snp" satisfies Tee) && snp !== "denied")
    return verifySnp({
      report: evidence.report,
      certificates: evidence.auxiliary,
      collateral: collateral.snp,
      policy: snp,
      at,
      expect: { reportData: expect.reportData, initdataDigest: expect.initdata?.sha256 },
      crypto,
      cache: cache?.snp,
      brief,
    });
  if (evidence.tee === ("tdx" satisfies Tee) && tdx !== "denied")
    return verifyTdx({
      quote: evidence.report,
      eventLog: evidence.eventLog.length === 0 ? undefined : evidence.eventLog,
      collateral: collateral.tdx ?? NO_TDX_COLLATERAL,
      policy: tdx,
      at,
      expect: { reportData: expect.reportData, initdataDigest: expect.initdata?.sha384 },
      crypto,
      memo: cache?.tdx,
      brief,
    });
  return refuseTee(evidence.tee, { "sev-snp": snp !== "denied", tdx: tdx !== "denied" });
}

function refuseTee(tee: string, allowed: Readonly<Record<Tee, boolean>>): Verdict {
  const checks = new Checks<"evidence.tee">();
  const names = Object.entries(allowed).flatMap(([name, ok]) => (ok ? [name] : []));
  checks.check("evidence.tee", false, names.join(" or ") || "none", tee.slice(0, 64));
  return checks.verdict(tee.slice(0, 64), ["evidence.tee"], {});
}
