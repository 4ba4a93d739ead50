/**
 * A verdict as an EAT Attestation Result for other relying parties: the claims set of draft-ietf-rats-ear in JSON (RFC
 * 9711), with the trustworthiness vector of draft-ietf-rats-ar4si. Unsigned: who issues it signs it.
 */
import { hex } from "./bytes.ts";
import type { Claims, Predicate, Verdict } from "./verdict.ts";

export const EAR_PROFILE = "tag:ietf.org,2026:rats/ear#03";

/** The dimensions of AR4SI that evidence of a CVM speaks to. */
export type Dimension = "instance-identity" | "configuration" | "executables" | "hardware" | "runtime-opaque";

/** AR4SI §2.3: 2-31 affirming, 32-95 warning, 96-127 contraindicated; 99: cryptographic validation failed. */
const AR4SI = { none: 0, affirming: 2, contraindicated: 96, cryptoFailed: 99 } as const;

/** By the beginning of a predicate's code, the first that fits; what fits none speaks of the hardware. */
const DIMENSIONS: readonly (readonly [prefix: string, dimension: Dimension])[] = [
  ["snp.report-data", "instance-identity"],
  ["snp.chip", "instance-identity"],
  ["snp.host-data", "configuration"],
  ["snp.guest", "configuration"],
  ["snp.vmpl", "configuration"],
  ["snp.platform", "configuration"],
  ["snp.migration-agent", "configuration"],
  ["snp.measurement", "executables"],
  ["snp.id-key", "executables"],
  ["snp.author-key", "executables"],
  ["snp.family-id", "executables"],
  ["snp.image-id", "executables"],
  ["tdx.td.report-data", "instance-identity"],
  ["tdx.platform.allowed", "instance-identity"],
  ["tdx.platform", "configuration"],
  ["tdx.td.debug", "runtime-opaque"],
  ["tdx.td.mr-td", "executables"],
  ["tdx.td.mr-seam", "hardware"],
  ["tdx.td.rtmr", "executables"],
  ["tdx.event-log", "executables"],
  ["tdx.td", "configuration"],
];

export function dimensionOf(code: string): Dimension {
  return DIMENSIONS.find(([prefix]) => code.startsWith(prefix))?.[1] ?? "hardware";
}

const isSignature = (code: string): boolean => code.endsWith("signature") || code.endsWith(".root");

/** A dimension affirms where each of its predicates was evaluated and held, and not all of them were left unchecked. */
function rate(predicates: readonly Predicate[], notEvaluated: readonly string[]): number {
  const failed = predicates.filter(({ ok }) => !ok);
  if (failed.some(({ code }) => isSignature(code))) return AR4SI.cryptoFailed;
  if (failed.length > 0) return AR4SI.contraindicated;
  if (notEvaluated.length > 0 || predicates.every(({ unchecked }) => unchecked !== undefined))
    return AR4SI.none;
  return AR4SI.affirming;
}

export interface EarOptions {
  /** Seconds since 1970. */
  readonly issuedAt: number;
  readonly verifier: { readonly developer: string; readonly build: string };
  /** Names the policy: its version and digest, say. */
  readonly policyId: string;
  /** The relying party's nonce, 8 to 64 bytes. */
  readonly nonce?: Uint8Array | undefined;
}

/** @returns the JSON claims set; `submods` has one appraisal, named after the TEE */
export function toEar(verdict: Verdict, { issuedAt, verifier, policyId, nonce }: EarOptions): Claims {
  const dimensions: readonly Dimension[] = [
    "instance-identity",
    "configuration",
    "executables",
    "hardware",
    "runtime-opaque",
  ];
  const vector: Record<string, number> = {};
  for (const dimension of dimensions) {
    const mine = verdict.predicates.filter(({ code }) => dimensionOf(code) === dimension);
    const missing = verdict.notEvaluated.filter((code) => dimensionOf(code) === dimension);
    vector[dimension] = mine.length + missing.length === 0 ? AR4SI.none : rate(mine, missing);
  }
  // SNP's debug bit is one of a predicate's several: memory is opaque where that predicate holds
  if (verdict.tee === "sev-snp")
    vector["runtime-opaque"] = verdict.predicates.some(({ code, ok }) => code === "snp.guest-policy" && ok)
      ? AR4SI.affirming
      : AR4SI.none;
  const worst = Math.max(...Object.values(vector));
  return {
    eat_profile: EAR_PROFILE,
    iat: issuedAt,
    "ear.verifier-id": { developer: verifier.developer, build: verifier.build },
    ...(nonce === undefined ? {} : { eat_nonce: hex(nonce) }),
    submods: {
      [verdict.tee]: {
        "ear.status": verdict.accepted
          ? "affirming"
          : worst >= AR4SI.contraindicated
            ? "contraindicated"
            : "none",
        "ear.trustworthiness-vector": vector,
        "ear.appraisal-policy-ids": [policyId],
        "sealet.failed": verdict.predicates.filter(({ ok }) => !ok).map(({ code }) => code),
        "sealet.not-evaluated": verdict.notEvaluated,
        "sealet.unchecked": verdict.predicates
          .filter(({ unchecked }) => unchecked !== undefined)
          .map(({ code }) => code),
        "sealet.claims": verdict.claims,
      },
    },
  };
}
