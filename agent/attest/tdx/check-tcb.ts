/** The predicates of the platform's TCB, its quoting enclave and its TDX module, by documents that hold. */
import { equalBytes, hex, isZero } from "../bytes.ts";
import { timeText } from "../chain.ts";
import { isUnchecked } from "../policy-fields.ts";
import { checkAnyOf, checkRule, isListed, oneOf } from "../rule.ts";
import type { Checks } from "../verdict.ts";
import type { QeIdentity, TcbInfo } from "./documents.ts";
import { CONFIGURATION, type SgxExtension } from "./pck.ts";
import type { TdxPolicy } from "./policy.ts";
import type { TdxCode } from "./predicates.ts";
import type { Quote, TdReport } from "./quote.ts";
import { matchModule, rateTcb, type TcbRating } from "./tcb.ts";

const SGX_DEBUG = 0x02;

export function checkQeDebug(checks: Checks<TdxCode>, { attributes }: Quote["qeReport"]): void {
  checks.check("tdx.qe.debug", ((attributes[0] ?? SGX_DEBUG) & SGX_DEBUG) === 0, "DEBUG clear", () =>
    hex(attributes),
  );
}

export function checkQeIdentity(
  checks: Checks<TdxCode>,
  report: Quote["qeReport"],
  identity: QeIdentity,
): void {
  const wrong: string[] = [];
  if (!sameUnderMask(report.miscSelect, identity.miscselect, identity.miscselectMask))
    wrong.push(`MISCSELECT ${hex(report.miscSelect)}`);
  if (!sameUnderMask(report.attributes, identity.attributes, identity.attributesMask))
    wrong.push(`ATTRIBUTES ${hex(report.attributes)}`);
  if (!equalBytes(report.mrSigner, identity.mrsigner)) wrong.push(`MRSIGNER ${hex(report.mrSigner)}`);
  if (report.isvProdId !== identity.isvprodid) wrong.push(`ISVPRODID ${report.isvProdId}`);
  const expected = (): string => `MRSIGNER ${hex(identity.mrsigner)}, ISVPRODID ${identity.isvprodid}`;
  checks.check(
    "tdx.qe.identity",
    wrong.length === 0,
    expected,
    wrong.length === 0 ? expected : wrong.join(", "),
  );
}

function sameUnderMask(value: Uint8Array, expected: Uint8Array, mask: Uint8Array): boolean {
  return (
    value.length === expected.length &&
    value.every((byte, i) => ((byte ^ (expected[i] ?? ~byte)) & (mask[i] ?? 0xff)) === 0)
  );
}

export function checkTcbInfoPlatform(checks: Checks<TdxCode>, info: TcbInfo, extension: SgxExtension): void {
  checks.check(
    "tdx.tcb-info.platform",
    equalBytes(info.fmspc, extension.fmspc) && equalBytes(info.pceId, extension.pceId),
    () => `FMSPC ${hex(extension.fmspc)}, PCE-ID ${hex(extension.pceId)}`,
    () => `FMSPC ${hex(info.fmspc)}, PCE-ID ${hex(info.pceId)}`,
  );
}

export function checkEvaluation(
  checks: Checks<TdxCode>,
  info: TcbInfo,
  identity: QeIdentity,
  floor: number,
): void {
  const numbers = [info.tcbEvaluationDataNumber, identity.tcbEvaluationDataNumber] as const;
  const found = (): string => `TCB info ${numbers[0]}, QE identity ${numbers[1]}`;
  checks.check("tdx.tcb.evaluation-number", Math.min(...numbers) >= floor, () => `at least ${floor}`, found);
  checks.check("tdx.tcb.evaluation-equal", numbers[0] === numbers[1], "the same number in both", found);
}

/** Rates the TCB and holds it against the policy. */
export function checkTcb(
  checks: Checks<TdxCode>,
  input: {
    readonly td: TdReport;
    readonly qeReport: Quote["qeReport"];
    readonly extension: SgxExtension;
    readonly info: TcbInfo;
    readonly identity: QeIdentity;
    readonly policy: TdxPolicy["tcb"];
  },
): TcbRating {
  const { td, qeReport, extension, info, identity, policy } = input;
  checkModule(checks, td, info);
  const { teeTcbSvn } = td.fields;
  const teeTcbSvn2 = td.type === 2 ? undefined : td.fields.teeTcbSvn2;
  const qeLevel = identity.tcbLevels.find((level) => qeReport.isvSvn >= level.isvSvn);
  const rating = rateTcb(info, { platform: extension, teeTcbSvn, teeTcbSvn2, qeLevel });
  const accepted: readonly string[] = policy.accepted;
  checks.check(
    "tdx.tcb.status",
    accepted.includes(rating.status),
    () => accepted.join(" or "),
    () => describe(rating),
  );
  // a TD-preserving update must not have taken the module back
  if (teeTcbSvn2 === undefined)
    checks.check(
      "tdx.tcb.current-status",
      true,
      "nothing newer than at launch",
      "TD report 1.0 does not say",
    );
  else {
    const current = rateTcb(info, {
      platform: extension,
      teeTcbSvn: teeTcbSvn2,
      teeTcbSvn2: undefined,
      qeLevel,
    });
    const ok = accepted.includes(current.status);
    checks.check(
      "tdx.tcb.current-status",
      ok,
      () => accepted.join(" or "),
      () => describe(current),
    );
  }

  const date = rating.tcbDate;
  const found = (): string => (date === undefined ? "no TCB level" : timeText(date));
  const { minimumDate, advisories } = policy;
  if (isUnchecked(minimumDate)) checks.unchecked("tdx.tcb.date", minimumDate.unchecked, found);
  else {
    const recent = date !== undefined && date >= Date.parse(minimumDate);
    checks.check("tdx.tcb.date", recent, `not before ${minimumDate}`, found);
  }
  const list = (): string => rating.advisories.join(", ") || "none";
  if (isUnchecked(advisories)) checks.unchecked("tdx.tcb.advisories", advisories.unchecked, list);
  else
    checks.check(
      "tdx.tcb.advisories",
      rating.advisories.every((advisory) => advisories.accepted.includes(advisory)),
      () => advisories.accepted.join(", ") || "none",
      list,
    );
  return rating;
}

function describe({ status, platform, module, quotingEnclave }: TcbRating): string {
  return `${status} (platform ${platform}, module ${module}, quoting enclave ${quotingEnclave})`;
}

function checkModule(checks: Checks<TdxCode>, { fields }: TdReport, info: TcbInfo): void {
  const match = matchModule(info, fields.teeTcbSvn);
  if (match.kind === "unknown") {
    checks.check(
      "tdx.tcb.module",
      false,
      "a TDX module that Intel publishes",
      `${match.id} is not published`,
    );
    return;
  }
  const module = match.kind === "platform" ? info.tdxModule : match.identity;
  const wrong: string[] = [];
  if (!equalBytes(fields.mrSignerSeam, module.mrsigner))
    wrong.push(`MRSIGNERSEAM ${hex(fields.mrSignerSeam)}`);
  // Intel's library demands zero beside equality under the mask
  if (
    !sameUnderMask(fields.seamAttributes, module.attributes, module.attributesMask) ||
    !isZero(fields.seamAttributes)
  )
    wrong.push(`SEAMATTRIBUTES ${hex(fields.seamAttributes)}`);
  const expected = (): string => `MRSIGNERSEAM ${hex(module.mrsigner)}, SEAMATTRIBUTES zero`;
  checks.check(
    "tdx.tcb.module",
    wrong.length === 0,
    expected,
    wrong.length === 0 ? expected : wrong.join(", "),
  );
}

export function checkPlatformPolicy(
  checks: Checks<TdxCode>,
  { ppid, configuration }: SgxExtension,
  policy: TdxPolicy["platform"],
): void {
  const denied = isListed(policy.denied, hex(ppid));
  if (denied) checks.check("tdx.platform.allowed", false, "a platform that is not denied", () => hex(ppid));
  else checkAnyOf(checks, "tdx.platform.allowed", policy.allowed, ppid);
  const set = (): string[] => CONFIGURATION.filter((name) => configuration?.[name] === true);
  checkRule(
    checks,
    "tdx.platform.configuration",
    policy.configuration,
    () => (configuration === undefined ? "not stated" : set().join(", ") || "none"),
    ({ allowed }) => CONFIGURATION.every((name) => configuration?.[name] !== true || allowed.includes(name)),
    ({ allowed }) => `nothing but ${oneOf(allowed)}`,
  );
}
