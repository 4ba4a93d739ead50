/**
 * Appraises an Azure confidential VM: the hardware's report (SNP) or quote (TDX) carries the digest of the paravisor's
 * runtime data, which names the virtual TPM's attestation key, which quotes the PCRs over this request's nonce. Each link
 * is a predicate; the hardware's part is appraised by its own verifier, with its own policy.
 */
import { concat, hex } from "../bytes.ts";
import type { Crypto } from "../crypto.ts";
import { attempt, type Result } from "../malformed.ts";
import { isUnchecked, type Unchecked } from "../policy-fields.ts";
import { checkRule } from "../rule.ts";
import {
  checkTpm,
  checkTpmSignature,
  TPM_PREDICATES,
  type SignedQuote,
  type TpmEvidence,
} from "../tpm/verify.ts";
import { Checks, type Claims, type Verdict } from "../verdict.ts";
import { parseHclReport, type HclReport } from "./hcl.ts";
import type { AzurePolicy } from "./policy.ts";
import { parseRuntimeData, type RuntimeData } from "./runtime-data.ts";

export const AZURE_PREDICATES = {
  "azure.evidence.format": "TPM quote, PCRs and hardware's part are packed as they should be",
  "azure.hcl.format": "The paravisor's report is well-formed",
  "azure.hcl.tee": "The paravisor's report is of the kind of TEE that the evidence says",
  "azure.runtime-data.format": "The runtime data name exactly one RSA key HCLAkPub",
  "azure.secure-boot": "Secure boot is as the policy wants it",
  "azure.console": "The VM's console is as the policy wants it",
  "azure.tpm-persisted": "The virtual TPM's state is kept or not, as the policy wants it",
  "azure.vm": "The VM is one of those allowed",
  ...TPM_PREDICATES,
} as const satisfies Record<string, string>;

export type AzureCode = keyof typeof AZURE_PREDICATES;

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a constant
export const AZURE_DEMANDED = Object.keys(AZURE_PREDICATES) as readonly AzureCode[];

export interface AzureInput {
  readonly tee: "sev-snp" | "tdx";
  /** From NV index 0x01400001. */
  readonly hclReport: Uint8Array;
  /** A refusal where what the node packed could not be read. */
  readonly tpm: Result<TpmEvidence>;
  readonly policy: Omit<AzurePolicy, "hardware">;
  /** What the TPM's quote has to carry: for instance the SHA-256 of the request's report data. */
  readonly nonce: Uint8Array | Unchecked;
  readonly crypto: Crypto;
  /** Stop before the first signature where a cheaper predicate failed: for services that are flooded. */
  readonly brief?: boolean | undefined;
  /**
   * Appraises the hardware's part; briefly where `brief` is set.
   * @param hardwareReport the SNP report of the HCL report; for TDX its TDREPORT, in whose place the quote is verified
   * @param reportData 64 bytes that the hardware's report or quote has to carry: digest of the runtime data, then zeros
   */
  readonly verifyHardware: (hardwareReport: Uint8Array, reportData: Uint8Array) => Promise<Verdict>;
}

export async function verifyAzure(input: AzureInput): Promise<Verdict> {
  const checks = new Checks<AzureCode>();
  // copied: the caller's buffers may change while signatures are verified
  const bytes = new Uint8Array(input.hclReport);
  const hcl = checks.parsed(
    "azure.hcl.format",
    "an HCL report",
    attempt(() => parseHclReport(bytes)),
  );
  const hardware = hcl === undefined ? undefined : await verifyReport(checks, hcl, input);
  const own = checks.verdict(`azure-${input.tee}`, AZURE_DEMANDED, hardware?.claims ?? {});
  const tee = hardware?.verdict;
  return {
    // INVARIANT: without the hardware's word the runtime data are the host's
    accepted: own.accepted && tee?.accepted === true,
    tee: own.tee,
    predicates: [...(tee?.predicates ?? []), ...own.predicates],
    notEvaluated: [...(tee === undefined ? ["azure.hardware"] : tee.notEvaluated), ...own.notEvaluated],
    claims: { ...own.claims, hardware: tee?.claims ?? {} },
  };
}

/**
 * The TPM's signature is the last, for it is the only one that is new each time.
 * @returns no verdict of the hardware's where it is not worth its signatures any more
 */
async function verifyReport(
  checks: Checks<AzureCode>,
  hcl: HclReport,
  input: AzureInput,
): Promise<{ readonly verdict: Verdict | undefined; readonly claims: Claims }> {
  const { crypto, policy, tee, nonce, brief } = input;
  checks.check("azure.hcl.tee", hcl.tee === tee, tee, hcl.tee);
  const digest = await crypto.digest(hcl.hash, hcl.runtimeData);
  const reportData = concat(digest, new Uint8Array(64 - digest.length));
  const runtime = checks.parsed(
    "azure.runtime-data.format",
    "runtime data with the key HCLAkPub",
    attempt(() => parseRuntimeData(hcl.runtimeData)),
  );
  let claims: Claims = { runtimeDataDigest: hex(digest) };
  let signed: SignedQuote | undefined;
  if (runtime !== undefined) {
    checkConfiguration(checks, runtime, policy);
    const tpm = checks.parsed("azure.evidence.format", "TPM quote, signature and PCRs", input.tpm);
    signed = tpm && (await checkTpm(checks, crypto, tpm, policy.tpm, nonce));
    claims = { ...claims, ...runtimeClaims(runtime), ...(signed && tpmClaims(signed)) };
  }
  if (checks.failed && brief === true) return { verdict: undefined, claims };
  const verdict = await input.verifyHardware(hcl.hardwareReport, reportData);
  if (runtime !== undefined && signed !== undefined && (verdict.accepted || brief !== true))
    await checkTpmSignature(checks, crypto, signed, runtime.attestationKey);
  return { verdict, claims };
}

function tpmClaims({ quote: { resetCount, restartCount, safe } }: SignedQuote): Claims {
  return { tpm: { resetCount, restartCount, clockSafe: safe } };
}

function runtimeClaims({ configuration, userData }: RuntimeData): Claims {
  const stated = Object.entries(configuration).filter(
    (entry): entry is [string, string | boolean] => entry[1] !== undefined,
  );
  return { vmConfiguration: Object.fromEntries(stated), ...(userData === undefined ? {} : { userData }) };
}

const said = (value: boolean | undefined): string =>
  value === undefined ? "not stated" : value ? "enabled" : "disabled";

function checkConfiguration(
  checks: Checks<AzureCode>,
  { configuration }: RuntimeData,
  policy: AzureInput["policy"],
): void {
  const { secureBoot, consoleEnabled, tpmPersisted, vmUniqueId } = configuration;
  const flags = [
    ["azure.secure-boot", policy.configuration.secureBoot, secureBoot],
    ["azure.console", policy.configuration.console, consoleEnabled],
    ["azure.tpm-persisted", policy.configuration.tpmPersisted, tpmPersisted],
  ] as const;
  for (const [code, rule, value] of flags) {
    if (isUnchecked(rule)) checks.unchecked(code, rule.unchecked, said(value));
    else checks.check(code, said(value) === rule, rule, said(value));
  }
  checkRule(
    checks,
    "azure.vm",
    policy.vms,
    () => vmUniqueId ?? "not stated",
    ({ anyOf }) => anyOf.some((vm) => vm.toLowerCase() === vmUniqueId?.toLowerCase()),
    ({ anyOf }) => anyOf.join(" or "),
  );
}
