/** One twin of Intel for the tests here, a policy that is met by what it makes by default, and the verdict about it. */
import { tdxPolicy, type TdxPolicy } from "../../../agent/attest/tdx/policy.ts";
import type { TdxCode } from "../../../agent/attest/tdx/predicates.ts";
import { verifyTdx, type TdxInput } from "../../../agent/attest/tdx/verify.ts";
import type { Verdict } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import {
  defaultQeIdentity,
  defaultTcbInfo,
  FMSPC,
  IntelCa,
  PPID,
  TWIN_TIME,
  type Issued,
  type QuoteOptions,
} from "../../twin/intel-ca.ts";

export const crypto = nodeCrypto();
export const ca = new IntelCa();

export const ZERO = "00".repeat(48);
const zero = { anyOf: [ZERO] };

export function twinPolicy(change: Partial<TdxPolicy> = {}): TdxPolicy {
  return tdxPolicy.parse({
    root: { sha256: ca.rootSha256, reason: "the tests' twin" },
    tcb: {
      accepted: ["UpToDate"],
      minimumDate: "2025-01-01T00:00:00Z",
      minimumEvaluationDataNumber: 20,
      advisories: { accepted: [] },
    },
    collateral: { issuedSince: "2026-05-20T00:00:00Z" },
    platform: {
      allowed: { anyOf: [PPID] },
      denied: [],
      configuration: { allowed: ["dynamicPlatform", "smtEnabled"] },
    },
    attributes: { required: ["SEPT_VE_DISABLE"], allowed: ["PKS"] },
    xfam: { allowed: "0x00000000000600e7" },
    mrSeam: zero,
    mrTd: zero,
    mrConfigId: "initdata",
    mrOwner: zero,
    mrOwnerConfig: zero,
    rtmr: [zero, zero, zero, zero],
    serviceTd: "none",
    devices: "none",
    eventLog: { unchecked: "the twin's TD has none" },
    ...change,
  });
}

export const COLLATERAL = ca.collateral();
const POLICY = twinPolicy();

export function appraise(quote: Uint8Array, change: Partial<TdxInput> = {}): Promise<Verdict> {
  return verifyTdx({
    quote,
    collateral: COLLATERAL,
    policy: POLICY,
    at: TWIN_TIME,
    expect: { reportData: new Uint8Array(64), initdataDigest: new Uint8Array(48) },
    crypto,
    ...change,
  });
}

/** One predicate failing: how the quote or the rest is made for it. */
interface Case {
  readonly quote?: QuoteOptions | (() => Uint8Array);
  readonly input?: () => Partial<TdxInput>;
  /** Other predicates that can't but fail with it. */
  readonly also?: readonly TdxCode[];
}
export type Cases = readonly (readonly [code: TdxCode, what: string, test: Case])[];

export const bytesOf = (value: number, size = 48): Uint8Array => new Uint8Array(size).fill(value);

export const changedPolicy =
  (change: Partial<TdxPolicy>): (() => Partial<TdxInput>) =>
  () => ({
    policy: twinPolicy(change),
  });
export const changedTcbInfo =
  (change: object): (() => Partial<TdxInput>) =>
  () => ({
    collateral: ca.collateral({ tcbInfo: { ...defaultTcbInfo(), ...change } }),
  });
export const changedQeIdentity =
  (change: object): (() => Partial<TdxInput>) =>
  () => ({
    collateral: ca.collateral({ qeIdentity: { ...defaultQeIdentity(), ...change } }),
  });

/** With one document signed by another signer. */
export function signedBy(which: "tcbInfo" | "qeIdentity", signer: Issued, root = ca.root): Partial<TdxInput> {
  return {
    collateral:
      which === "tcbInfo"
        ? { ...COLLATERAL, tcbInfo: new Map([[FMSPC, ca.sign("tcbInfo", defaultTcbInfo(), signer, root)]]) }
        : { ...COLLATERAL, qeIdentity: ca.sign("enclaveIdentity", defaultQeIdentity(), signer, root) },
  };
}
