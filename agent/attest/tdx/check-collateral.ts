/** The predicates of PCK chain, CRLs, TCB info and QE identity at a time. Works on facts; computes no signature. */
import { equalBytes, hex } from "../bytes.ts";
import { isCurrent, isRevoked, isValidAt, timeText, validityText } from "../chain.ts";
import { describeRefusal, type Result } from "../malformed.ts";
import { isUnchecked } from "../policy-fields.ts";
import type { Checks } from "../verdict.ts";
import type { Certificate, CertificateList } from "../x509.ts";
import type { CrlFacts, DocumentFacts, PlatformFacts, PlatformSignatures, Problem } from "./facts.ts";
import type { TdxPolicy } from "./policy.ts";
import type { TdxCode } from "./predicates.ts";

const none = "missing";

/** A fact that is a problem or none, as a predicate. */
function sound(checks: Checks<TdxCode>, code: TdxCode, expected: string, problem: Problem): boolean {
  return checks.check(code, problem === undefined, expected, problem ?? expected);
}

/** What is seen without a signature. */
export function checkPlatform(
  checks: Checks<TdxCode>,
  facts: PlatformFacts,
  trustedRoot: string,
  at: number,
): void {
  const { pck, ca, root } = facts.chain;
  checks.check("tdx.pck.root", facts.rootDigest === trustedRoot, trustedRoot, facts.rootDigest);
  sound(checks, "tdx.pck.names", "PCK certificate, PCK Platform or Processor CA, Root CA", facts.nameProblem);
  sound(checks, "tdx.pck.constraints", "issuers that may issue", facts.constraintProblem);
  const expired = [pck, ca, root].find((certificate) => !isValidAt(certificate, at));
  checks.check(
    "tdx.pck.dates",
    expired === undefined,
    () => `valid at ${timeText(at)}`,
    () => validityText(expired ?? pck),
  );
  checks.check(
    "tdx.qe.attestation-key",
    facts.attestationKeyBound,
    "SHA-256 of attestation key and authentication data, then zeros",
    facts.attestationKeyBound ? "that digest" : "another value",
  );
}

export function checkPlatformSignatures(
  checks: Checks<TdxCode>,
  { chainProblem, qeReportSigned }: PlatformSignatures,
): void {
  sound(checks, "tdx.pck.signature", "right signatures", chainProblem);
  checks.check(
    "tdx.qe.signature",
    qeReportSigned,
    "signed by the PCK",
    qeReportSigned ? "signed by the PCK" : "not signed by the PCK",
  );
}

export const ROOT_CRL = {
  format: "tdx.root-crl.format",
  signature: "tdx.root-crl.signature",
  current: "tdx.root-crl.current",
} as const satisfies Record<string, TdxCode>;

export const PCK_CRL = {
  format: "tdx.pck-crl.format",
  signature: "tdx.pck-crl.signature",
  current: "tdx.pck-crl.current",
} as const satisfies Record<keyof typeof ROOT_CRL, TdxCode>;

/** @returns the CRL where it may be used for revocation */
export function checkCrl(
  checks: Checks<TdxCode>,
  codes: typeof ROOT_CRL | typeof PCK_CRL,
  facts: Result<CrlFacts> | undefined,
  at: number,
): CertificateList | undefined {
  const expected = "a well-formed CRL";
  const found = facts === undefined ? none : facts.ok ? expected : describeRefusal(facts.refusal);
  if (!checks.check(codes.format, facts?.ok === true, expected, found) || facts?.ok !== true)
    return undefined;
  const { crl, signatureProblem } = facts.value;
  const signed = sound(
    checks,
    codes.signature,
    "signed by its issuer, which may sign CRLs",
    signatureProblem,
  );
  checks.check(
    codes.current,
    isCurrent(crl, at),
    () => `current at ${timeText(at)}`,
    () => `${timeText(crl.thisUpdate)} to ${timeText(crl.nextUpdate)}`,
  );
  return signed ? crl : undefined;
}

export function checkRevocation(
  checks: Checks<TdxCode>,
  code: TdxCode,
  crl: CertificateList | undefined,
  certificate: Certificate,
): void {
  if (crl === undefined) return;
  const revoked = isRevoked(crl, certificate.serial);
  checks.check(
    code,
    !revoked,
    "not revoked",
    () => `${hex(certificate.serial)} is ${revoked ? "" : "not "}revoked`,
  );
}

export const TCB_INFO = {
  format: "tdx.tcb-info.format",
  signer: "tdx.tcb-info.signer",
  signerDates: "tdx.tcb-info.signer-dates",
  signerRevoked: "tdx.tcb-info.signer-revoked",
  signature: "tdx.tcb-info.signature",
  current: "tdx.tcb-info.current",
} as const satisfies Record<string, TdxCode>;

export const QE_IDENTITY = {
  format: "tdx.qe-identity.format",
  signer: "tdx.qe-identity.signer",
  signerDates: "tdx.qe-identity.signer-dates",
  signerRevoked: "tdx.qe-identity.signer-revoked",
  signature: "tdx.qe-identity.signature",
  current: "tdx.qe-identity.current",
} as const satisfies Record<keyof typeof TCB_INFO, TdxCode>;

/** @returns the document where it is signed and well-formed, current or not */
export function checkDocument<T extends { readonly issueDate: number; readonly nextUpdate: number }>(
  checks: Checks<TdxCode>,
  codes: typeof TCB_INFO | typeof QE_IDENTITY,
  facts: Result<DocumentFacts<T>> | undefined,
  context: { readonly root: Certificate; readonly rootCrl: CertificateList | undefined; readonly at: number },
): T | undefined {
  const { root, rootCrl, at } = context;
  const expected = "a well-formed document with its signer's chain";
  if (facts?.ok !== true) {
    checks.check(codes.format, false, expected, facts === undefined ? none : describeRefusal(facts.refusal));
    return undefined;
  }
  const { signer, signed, document } = facts.value;
  // the root was judged with the PCK chain: the same one must stand here
  const rootProblem = equalBytes(facts.value.root.der, root.der)
    ? undefined
    : "under another root than the PCK";
  const trusted = sound(
    checks,
    codes.signer,
    "Intel SGX TCB Signing, issued by the trusted root",
    facts.value.signerProblem ?? rootProblem,
  );
  checks.check(
    codes.signerDates,
    isValidAt(signer, at),
    () => `valid at ${timeText(at)}`,
    () => validityText(signer),
  );
  checkRevocation(checks, codes.signerRevoked, rootCrl, signer);
  checks.check(
    codes.signature,
    signed,
    "signed by its signer",
    signed ? "signed by its signer" : "not signed by it",
  );
  const value = document === undefined ? undefined : checks.parsed(codes.format, expected, document);
  if (value === undefined) return undefined;
  checks.check(
    codes.current,
    value.issueDate <= at && at < value.nextUpdate,
    () => `current at ${timeText(at)}`,
    () => `${timeText(value.issueDate)} to ${timeText(value.nextUpdate)}`,
  );
  // INVARIANT: what an untrusted signer says is never evaluated
  return trusted ? value : undefined;
}

/** Roll-back: what the policy's author had seen already, an older one must not replace. */
export function checkFloor(
  checks: Checks<TdxCode>,
  policy: TdxPolicy["collateral"],
  issued: readonly (readonly [what: string, at: number | undefined])[],
): void {
  let oldest: readonly [what: string, at: number] | undefined;
  let complete = true;
  for (const [what, at] of issued) {
    if (at === undefined) complete = false;
    else if (oldest === undefined || at < oldest[1]) oldest = [what, at];
  }
  const found = (): string => (oldest === undefined ? none : `${oldest[0]} of ${timeText(oldest[1])}`);
  if (isUnchecked(policy)) checks.unchecked("tdx.collateral.floor", policy.unchecked, found);
  else if (complete && oldest !== undefined)
    checks.check(
      "tdx.collateral.floor",
      oldest[1] >= Date.parse(policy.issuedSince),
      `nothing from before ${policy.issuedSince}`,
      found,
    );
}
