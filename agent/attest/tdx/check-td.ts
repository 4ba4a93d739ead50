/** The predicates of what a TD says of itself: attributes, measurements, what it binds. No signature is looked at here. */
import { hex, isZero } from "../bytes.ts";
import { checkAnyOf, oneOf } from "../rule.ts";
import type { Checks } from "../verdict.ts";
import {
  attributeBits,
  attributeNames,
  DEBUG_BIT,
  isSet,
  mask,
  reservedAttributes,
  TD_ATTRIBUTE,
  XFAM_FIXED,
} from "./attributes.ts";
import type { Unchecked } from "../policy-fields.ts";
import type { TdxPolicy } from "./policy.ts";
import type { TdxCode } from "./predicates.ts";
import type { TdReport } from "./quote.ts";

export interface TdxExpectation {
  /** 64 bytes; or, for a look at evidence whose origin is not at stake, that it is not checked. */
  readonly reportData: Uint8Array | Unchecked;
  /** SHA-384 of the node's initdata; needed where the policy binds MRCONFIGID to it. */
  readonly initdataDigest?: Uint8Array | undefined;
}

export function checkTd(
  checks: Checks<TdxCode>,
  td: TdReport,
  policy: TdxPolicy,
  expect: TdxExpectation,
): void {
  const { fields } = td;
  const { reportData } = expect;
  if ("unchecked" in reportData)
    checks.unchecked("tdx.td.report-data", reportData.unchecked, () => hex(fields.reportData));
  else checks.equal("tdx.td.report-data", reportData, fields.reportData);
  checkAttributes(checks, fields.tdAttributes, policy.attributes);
  checkXfam(checks, fields.xfam, policy.xfam.allowed);
  checkServiceTd(checks, td, policy.serviceTd);
  checkDevices(checks, td, policy.devices);
  checkAnyOf(checks, "tdx.td.mr-seam", policy.mrSeam, fields.mrSeam);
  checkAnyOf(checks, "tdx.td.mr-td", policy.mrTd, fields.mrTd);
  if (policy.mrConfigId === "initdata") {
    const { initdataDigest } = expect;
    if (initdataDigest === undefined)
      checks.check(
        "tdx.td.mr-config-id",
        false,
        "the initdata's digest, which was not given",
        hex(fields.mrConfigId),
      );
    else checks.equal("tdx.td.mr-config-id", initdataDigest, fields.mrConfigId);
  } else checkAnyOf(checks, "tdx.td.mr-config-id", policy.mrConfigId, fields.mrConfigId);
  checkAnyOf(checks, "tdx.td.mr-owner", policy.mrOwner, fields.mrOwner);
  checkAnyOf(checks, "tdx.td.mr-owner-config", policy.mrOwnerConfig, fields.mrOwnerConfig);
  checkAnyOf(checks, "tdx.td.rtmr0", policy.rtmr[0], fields.rtmr0);
  checkAnyOf(checks, "tdx.td.rtmr1", policy.rtmr[1], fields.rtmr1);
  checkAnyOf(checks, "tdx.td.rtmr2", policy.rtmr[2], fields.rtmr2);
  checkAnyOf(checks, "tdx.td.rtmr3", policy.rtmr[3], fields.rtmr3);
}

function checkAttributes(checks: Checks<TdxCode>, value: bigint, policy: TdxPolicy["attributes"]): void {
  checks.check("tdx.td.debug", !isSet(value, TD_ATTRIBUTE.DEBUG), "DEBUG clear", () => mask(value));
  const required = attributeBits(policy.required);
  const allowed = required | attributeBits(policy.allowed) | DEBUG_BIT;
  const missing = required & ~value;
  const excess = value & ~allowed;
  checks.check(
    "tdx.td.attributes",
    missing === 0n && excess === 0n,
    () =>
      `set: ${policy.required.join(", ") || "none"}; beside them at most: ${policy.allowed.join(", ") || "none"}`,
    () => describeAttributes(value, missing, excess),
  );
}

function describeAttributes(value: bigint, missing: bigint, excess: bigint): string {
  const reserved = reservedAttributes(excess);
  const wrong = [
    ...attributeNames(missing).map((name) => `${name} is clear`),
    ...attributeNames(excess).map((name) => `${name} is set`),
    ...(reserved === 0n ? [] : [`reserved bits ${mask(reserved)} are set`]),
  ];
  return [mask(value), ...wrong].join("; ");
}

function checkXfam(checks: Checks<TdxCode>, value: bigint, allowed: string): void {
  const excess = value & ~(BigInt(allowed) | XFAM_FIXED);
  const complete = (value & XFAM_FIXED) === XFAM_FIXED;
  checks.check(
    "tdx.td.xfam",
    excess === 0n && complete,
    () => `0x3 set, nothing outside of ${allowed}`,
    () => mask(value),
  );
}

/**
 * A service TD (one that migrates this one) can read what the TD holds. The hash at creation, the one today, and the
 * one where the TD was first made must each be absent or allowed.
 */
function checkServiceTd(checks: Checks<TdxCode>, td: TdReport, policy: TdxPolicy["serviceTd"]): void {
  const attributes = td.fields.tdAttributes;
  const hashes: readonly Uint8Array[] =
    td.type === 4
      ? [td.fields.mrServiceTd, td.fields.curServiceTdHash, td.fields.initServiceTdHash]
      : td.type === 3
        ? [td.fields.mrServiceTd]
        : [];
  const bound = hashes.filter((hash) => !isZero(hash)).map(hex);
  const extended = isSet(attributes, TD_ATTRIBUTE.SERVTD_EXT);
  const allowed = policy === "none" ? [] : policy.anyOf;
  checks.check(
    "tdx.td.service-td",
    bound.every((hash) => allowed.includes(hash)) && (policy !== "none" || !extended),
    () => (policy === "none" ? "none" : oneOf(allowed)),
    () => `${bound.join(", ") || "none"}${extended ? ", SERVTD_EXT" : ""}`,
  );
}

function checkDevices(checks: Checks<TdxCode>, td: TdReport, policy: TdxPolicy["devices"]): void {
  const hash = td.type === 4 && !isZero(td.fields.devInfo) ? hex(td.fields.devInfo) : undefined;
  const allowed = policy === "none" ? [] : policy.anyOf;
  checks.check(
    "tdx.td.devices",
    hash === undefined || allowed.includes(hash),
    () => (policy === "none" ? "none" : oneOf(allowed)),
    hash ?? "none",
  );
}
