/**
 * A verdict as an EAT Attestation Result for other relying parties: the claims set of draft-ietf-rats-ear in JSON (RFC
 * 9711), with the trustworthiness vector of draft-ietf-rats-ar4si. Unsigned: who issues it signs it.
 */
import { hex } from "./bytes.ts";
import type { Tee } from "./policy.ts";
import type { Claims, Verdict } from "./verdict.ts";

export const EAR_PROFILE = "tag:ietf.org,2026:rats/ear#03";

/** The dimensions of AR4SI that evidence of a CVM speaks to. */
const DIMENSIONS = [
  "instance-identity",
  "configuration",
  "executables",
  "hardware",
  "runtime-opaque",
] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** AR4SI §2.3: 2-31 affirming, 32-95 warning, 96-127 contraindicated; 99: cryptographic validation failed. */
const AR4SI = { none: 0, affirming: 2, contraindicated: 96, cryptoFailed: 99 } as const;

/** By the beginning of a predicate's code, the first that fits; what fits none speaks of the hardware. */
const SPEAKS_OF: readonly (readonly [prefix: string, dimension: Dimension])[] = [
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
  ["azure.secure-boot", "configuration"],
  ["azure.console", "configuration"],
  ["azure.tpm-persisted", "configuration"],
  ["azure.vm", "instance-identity"],
  ["tpm.quote.nonce", "instance-identity"],
  ["tpm", "executables"],
  ["cca.platform.known", "instance-identity"],
  ["cca.platform.config", "configuration"],
  ["cca.platform.lifecycle", "runtime-opaque"],
  ["cca.realm.challenge", "instance-identity"],
  ["cca.realm.personalization", "configuration"],
  ["cca.realm", "executables"],
];

export function dimensionOf(code: string): Dimension {
  return SPEAKS_OF.find(([prefix]) => code.startsWith(prefix))?.[1] ?? "hardware";
}

/**
 * What a dimension affirms nothing without, be it missing or unchecked: that the evidence is of this request, and what was
 * launched. On Azure the hardware binds the paravisor, the TPM this request; the operating system is in the PCRs.
 */
const ESSENTIAL: ReadonlyMap<string, Readonly<Partial<Record<Dimension, readonly string[]>>>> = new Map(
  Object.entries({
    "sev-snp": { "instance-identity": ["snp.report-data"], executables: ["snp.measurement"] },
    tdx: { "instance-identity": ["tdx.td.report-data"], executables: ["tdx.td.mr-td"] },
    "azure-sev-snp": {
      "instance-identity": ["tpm.quote.nonce"],
      executables: ["snp.measurement", "tpm.pcrs"],
    },
    "azure-tdx": { "instance-identity": ["tpm.quote.nonce"], executables: ["tdx.td.mr-td", "tpm.pcrs"] },
    "arm-cca": {
      "instance-identity": ["cca.realm.challenge"],
      executables: ["cca.realm.initial-measurement"],
    },
  } satisfies Record<Tee, Partial<Record<Dimension, readonly string[]>>>),
);

/** From a root to what the evidence says, beside signatures: keys that are named by digest, or by the policy. */
const LINKS: ReadonlySet<string> = new Set([
  "tdx.qe.attestation-key",
  "cca.platform.known",
  "cca.realm.binding",
  "azure.hardware",
]);

/** Whether all that the evidence says hangs on it. */
function isLink(code: string, tee: string): boolean {
  if (code.endsWith("signature") || code.endsWith(".root") || LINKS.has(code)) return true;
  // the paravisor's runtime data, which name the TPM's key
  return tee.startsWith("azure-") && code.endsWith(".report-data");
}

/**
 * A dimension affirms where each of its predicates was evaluated and held, not all of them were left unchecked, and none
 * that is essential to it. INVARIANT: none affirms unless every link of the chain to the root was verified.
 */
function rate({ tee, predicates, notEvaluated }: Verdict, dimension: Dimension): number {
  if (predicates.some(({ code, ok }) => !ok && isLink(code, tee))) return AR4SI.cryptoFailed;
  const mine = predicates.filter(({ code }) => dimensionOf(code) === dimension);
  if (mine.some(({ ok }) => !ok)) return AR4SI.contraindicated;
  if (notEvaluated.some((code) => isLink(code, tee) || dimensionOf(code) === dimension)) return AR4SI.none;
  const checked = new Set(
    predicates.flatMap(({ code, unchecked }) => (unchecked === undefined ? [code] : [])),
  );
  // SNP's debug bit is one of a predicate's several
  if (dimension === "runtime-opaque" && checked.has("snp.guest-policy"))
    return predicates.some(({ code, ok }) => code === "snp.guest-policy" && ok)
      ? AR4SI.affirming
      : AR4SI.none;
  const essential = ESSENTIAL.get(tee)?.[dimension] ?? [];
  return mine.some(({ code }) => checked.has(code)) && essential.every((code) => checked.has(code))
    ? AR4SI.affirming
    : AR4SI.none;
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
  const vector = Object.fromEntries(DIMENSIONS.map((dimension) => [dimension, rate(verdict, dimension)]));
  const ratings = Object.values(vector);
  return {
    eat_profile: EAR_PROFILE,
    iat: issuedAt,
    "ear.verifier-id": { developer: verifier.developer, build: verifier.build },
    ...(nonce === undefined ? {} : { eat_nonce: hex(nonce) }),
    submods: {
      [verdict.tee]: {
        // never more than its worst dimension: one that the policy leaves unchecked is not affirmed by the others
        "ear.status": ratings.some((rating) => rating >= AR4SI.contraindicated)
          ? "contraindicated"
          : verdict.accepted && ratings.every((rating) => rating === AR4SI.affirming)
            ? "affirming"
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
