/**
 * Appraises a TDX quote: bytes, collateral, policy and time in, verdict out. Every predicate is closed: what can't be
 * answered counts as not evaluated, and nothing is accepted then.
 *
 * @see Intel SGX DCAP ECDSA Quote Verification Library, §4.1.2.4; field order of Intel's own checks is not kept
 */
import { fromHex, hex, isZero } from "../bytes.ts";
import type { Crypto } from "../crypto.ts";
import { eventName, parseEventLog } from "../eventlog/log.ts";
import { firstContradiction, replay } from "../eventlog/replay.ts";
import { attempt, describeRefusal } from "../malformed.ts";
import { isUnchecked, type Unchecked } from "../policy-fields.ts";
import { Checks, type Verdict } from "../verdict.ts";
import { p256Spki } from "../x509.ts";
import {
  checkCrl,
  checkDocument,
  checkFloor,
  checkPlatform,
  checkPlatformSignatures,
  checkRevocation,
  PCK_CRL,
  QE_IDENTITY,
  ROOT_CRL,
  TCB_INFO,
} from "./check-collateral.ts";
import {
  checkEvaluation,
  checkPlatformPolicy,
  checkQeDebug,
  checkQeIdentity,
  checkTcb,
  checkTcbInfoPlatform,
} from "./check-tcb.ts";
import { checkTd, type TdxExpectation } from "./check-td.ts";
import { platformClaims, quoteClaims, tcbClaims } from "./claims.ts";
import type { CaKind, PlatformFacts, SignedDocument } from "./facts.ts";
import { TdxMemo } from "./memo.ts";
import { type TdxPolicy, trustedRoot } from "./policy.ts";
import { TDX_DEMANDED, type TdxCode } from "./predicates.ts";
import { MAX_QUOTE_SIZE, parseQuote, type Quote } from "./quote.ts";
import type { TcbRating } from "./tcb.ts";

/** Intel's endorsements as its services publish them. Never changed once given: see `memo.ts`. */
export interface TdxCollateral {
  /** By the platform's FMSPC as lower-case hex. */
  readonly tcbInfo: ReadonlyMap<string, SignedDocument>;
  readonly qeIdentity: SignedDocument | undefined;
  /** DER. */
  readonly rootCrl: Uint8Array | undefined;
  readonly pckCrl: { readonly [kind in CaKind]?: Uint8Array | undefined };
}

export interface TdxInput {
  readonly quote: Uint8Array;
  readonly eventLog?: Uint8Array | undefined;
  readonly collateral: TdxCollateral;
  readonly policy: TdxPolicy;
  /** ms since 1970. */
  readonly at: number;
  readonly expect: TdxExpectation;
  readonly crypto: Crypto;
  /** What is known from before; made with the same `crypto`. */
  readonly memo?: TdxMemo | undefined;
  /** Stop before the first signature where a cheaper predicate failed already: for services that are flooded. */
  readonly brief?: boolean | undefined;
}

type TdxChecks = Checks<TdxCode>;

const INTEL_QE_VENDOR = fromHex("939a7233f79c4ca9940a0db3957f0607");

/** What the evidence says of itself, as far as it was read; written only when somebody asks. */
interface Read {
  quote?: Quote;
  platform?: PlatformFacts;
  tcb?: TcbRating;
}

export async function verifyTdx(input: TdxInput): Promise<Verdict> {
  const checks = new Checks<TdxCode>();
  // copied: the caller's buffers may change while signatures are verified
  const bytes = new Uint8Array(input.quote.subarray(0, MAX_QUOTE_SIZE + 1));
  const quote = checks.parsed(
    "tdx.quote.format",
    "a TDX quote",
    attempt(() => parseQuote(bytes)),
  );
  const read: Read = {};
  if (quote !== undefined) await verifyQuote(checks, quote, input, read);
  return checks.verdict("tdx", TDX_DEMANDED, () => ({
    ...(read.quote && { td: quoteClaims(read.quote) }),
    ...(read.platform && { platform: platformClaims(read.platform.chain) }),
    ...(read.tcb && { tcb: tcbClaims(read.tcb) }),
  }));
}

/**
 * Cheap predicates come first, then the event log; the quote's own signature, the only one that is new each time, is
 * the last.
 */
async function verifyQuote(checks: TdxChecks, quote: Quote, input: TdxInput, read: Read): Promise<void> {
  const { policy, crypto, at, brief } = input;
  read.quote = quote;
  checkShape(checks, quote);
  checkQeDebug(checks, quote.qeReport);
  checkTd(checks, quote.td, policy, input.expect);
  // a log of 4 MiB is thousands of digests
  if (checks.failed && brief === true) return;
  if (isUnchecked(policy.eventLog)) leaveEventLog(checks, policy.eventLog);
  else await checkEventLog(checks, quote, input);
  if (checks.failed && brief === true) return;

  const memo = input.memo ?? new TdxMemo(crypto);
  const platform = await memo.platform(quote);
  const facts = checks.parsed("tdx.pck.format", "PCK certificate, CA and root", platform);
  if (facts !== undefined) {
    read.platform = facts;
    checkPlatform(checks, facts, trustedRoot(policy), at);
    checkPlatformPolicy(checks, facts.chain.extension, policy.platform);
    if (checks.failed && brief === true) return;
    const rating = await verifyPlatform(checks, quote, facts, memo, input);
    if (rating !== undefined) read.tcb = rating;
  }
  if (checks.failed && brief === true) return;

  const key = facts?.attestationKey ?? p256Spki(quote.attestationKey);
  const signed = await crypto.verify("ecdsa-p256-sha256", key, quote.signature, quote.signedBytes);
  checks.check(
    "tdx.quote.signature",
    signed,
    "signed by the attestation key",
    signed ? "signed by it" : "not signed by it",
  );
}

/** @returns the TCB's rating, where there are documents that hold */
async function verifyPlatform(
  checks: TdxChecks,
  quote: Quote,
  facts: PlatformFacts,
  memo: TdxMemo,
  { policy, collateral, at }: TdxInput,
): Promise<TcbRating | undefined> {
  const { pck, ca, root, extension, caKind } = facts.chain;
  const pckCrlBytes = caKind === undefined ? undefined : collateral.pckCrl[caKind];
  const tcbInfoDocument = collateral.tcbInfo.get(hex(extension.fmspc));
  const [signatures, rootCrlFacts, pckCrlFacts, tcbInfoFacts, qeIdentityFacts] = await Promise.all([
    memo.platformSignatures(quote, facts),
    collateral.rootCrl && memo.crl(collateral.rootCrl, root),
    pckCrlBytes && memo.crl(pckCrlBytes, ca),
    tcbInfoDocument && memo.tcbInfo(tcbInfoDocument),
    collateral.qeIdentity && memo.qeIdentity(collateral.qeIdentity),
  ]);
  checkPlatformSignatures(checks, signatures);
  const rootCrl = checkCrl(checks, ROOT_CRL, rootCrlFacts, at);
  const pckCrl = checkCrl(checks, PCK_CRL, pckCrlFacts, at);
  checkRevocation(checks, "tdx.pck.ca-revoked", rootCrl, ca);
  checkRevocation(checks, "tdx.pck.revoked", pckCrl, pck);
  const context = { root, rootCrl, at };
  const info = checkDocument(checks, TCB_INFO, tcbInfoFacts, context);
  const identity = checkDocument(checks, QE_IDENTITY, qeIdentityFacts, context);
  checkFloor(checks, policy.collateral, [
    ["root CRL", rootCrl?.thisUpdate],
    ["PCK CRL", pckCrl?.thisUpdate],
    ["TCB info", info?.issueDate],
    ["QE identity", identity?.issueDate],
  ]);
  if (info !== undefined) checkTcbInfoPlatform(checks, info, extension);
  if (identity !== undefined) checkQeIdentity(checks, quote.qeReport, identity);
  if (info === undefined || identity === undefined) return undefined;
  checkEvaluation(checks, info, identity, policy.tcb.minimumEvaluationDataNumber);
  const { td, qeReport } = quote;
  return checkTcb(checks, { td, qeReport, extension, info, identity, policy: policy.tcb });
}

function checkShape(checks: TdxChecks, quote: Quote): void {
  const { reserved, trailing, header } = quote;
  checks.check(
    "tdx.quote.reserved",
    reserved === undefined,
    "zero",
    reserved === undefined ? "zero" : `byte ${reserved.offset} (${reserved.name}) is not`,
  );
  const zeros = isZero(trailing);
  checks.check(
    "tdx.quote.trailing",
    zeros,
    "nothing, or zeros",
    () => `${trailing.length} bytes${zeros ? "" : ", not all zero"}`,
  );
  checks.equal("tdx.quote.qe-vendor", INTEL_QE_VENDOR, header.qeVendorId);
}

function leaveEventLog(checks: TdxChecks, { unchecked }: Unchecked): void {
  for (const code of ["tdx.event-log.format", "tdx.event-log.replay", "tdx.event-log.events"] as const)
    checks.unchecked(code, unchecked, "not looked at");
}

async function checkEventLog(
  checks: TdxChecks,
  { td }: Quote,
  { eventLog, crypto }: TdxInput,
): Promise<void> {
  const expected = "a TCG2 event log with SHA-384";
  const parsed = eventLog === undefined ? undefined : attempt(() => parseEventLog(eventLog));
  const registers = parsed?.ok === true ? await replay(crypto, parsed.value, "sha384") : undefined;
  if (parsed?.ok !== true || registers === undefined) {
    const found =
      parsed === undefined ? "missing" : parsed.ok ? "no SHA-384 digests" : describeRefusal(parsed.refusal);
    checks.check("tdx.event-log.format", false, expected, found);
    return;
  }
  checks.check("tdx.event-log.format", true, expected, expected);
  const { rtmr0, rtmr1, rtmr2, rtmr3 } = td.fields;
  const wrong = [rtmr0, rtmr1, rtmr2, rtmr3].flatMap((rtmr, i) => {
    const replayed = hex(registers.get(i + 1) ?? new Uint8Array(48));
    return hex(rtmr) === replayed ? [] : [`RTMR${i} ${replayed}`];
  });
  // register 0 stands for MRTD, which no event extends
  const beyond = [...registers.keys()].filter((index) => index < 1 || index > 4);
  checks.check(
    "tdx.event-log.replay",
    wrong.length === 0 && beyond.length === 0,
    "the quote's RTMRs",
    [...wrong, ...beyond.map((index) => `events of register ${index}`)].join(", ") || "the quote's RTMRs",
  );
  const lie = await firstContradiction(crypto, parsed.value, "sha384");
  checks.check(
    "tdx.event-log.events",
    lie === undefined,
    "digests of the data",
    lie === undefined ? "digests of the data" : `${eventName(lie.type)} at byte ${lie.offset} has another`,
  );
}
