/** The predicates of what a TD says of itself: attributes, measurements, what it binds. No signature is looked at here. */
import { hex, isZero } from "../bytes.ts";
import type { Checks } from "../verdict.ts";
import {
  attributeNames,
  isSet,
  mask,
  type PolicyAttribute,
  reservedAttributes,
  TD_ATTRIBUTE,
  XFAM_FIXED,
} from "./attributes.ts";
import { isUnchecked, type Unchecked } from "../policy-fields.ts";
import type { TdxPolicy } from "./policy.ts";
import type { TdxCode } from "./predicates.ts";
import type { TdReport } from "./quote.ts";

export interface TdxExpectation {
  /** 64 bytes; or, for a look at evidence whose origin is not at stake, that it is not checked. */
  readonly reportData: Uint8Array | Unchecked;
  /** SHA-384 of the node's initdata; needed where the policy binds MRCONFIGID to it. */
  readonly initdataDigest?: Uint8Array | undefined;
}

type Register = { readonly anyOf: readonly string[] } | Unchecked;

export function checkTd(
  checks: Checks<TdxCode>,
  td: TdReport,
  policy: TdxPolicy,
  expect: TdxExpectation,
): void {
  const { fields } = td;
  const { reportData } = expect;
  if ("unchecked" in reportData)
    checks.unchecked("tdx.td.report-data", reportData.unchecked, hex(fields.reportData));
  else checks.equal("tdx.td.report-data", reportData, fields.reportData);
  checkAttributes(checks, fields.tdAttributes, policy.attributes);
  checkXfam(checks, fields.xfam, policy.xfam.allowed);
  checkServiceTd(checks, td, policy.serviceTd);
  checkDevices(checks, td, policy.devices);
  checkRegister(checks, "tdx.td.mr-seam", policy.mrSeam, fields.mrSeam);
  checkRegister(checks, "tdx.td.mr-td", policy.mrTd, fields.mrTd);
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
  } else checkRegister(checks, "tdx.td.mr-config-id", policy.mrConfigId, fields.mrConfigId);
  checkRegister(checks, "tdx.td.mr-owner", policy.mrOwner, fields.mrOwner);
  checkRegister(checks, "tdx.td.mr-owner-config", policy.mrOwnerConfig, fields.mrOwnerConfig);
  checkRegister(checks, "tdx.td.rtmr0", policy.rtmr[0], fields.rtmr0);
  checkRegister(checks, "tdx.td.rtmr1", policy.rtmr[1], fields.rtmr1);
  checkRegister(checks, "tdx.td.rtmr2", policy.rtmr[2], fields.rtmr2);
  checkRegister(checks, "tdx.td.rtmr3", policy.rtmr[3], fields.rtmr3);
}

export function checkRegister(
  checks: Checks<TdxCode>,
  code: TdxCode,
  policy: Register,
  value: Uint8Array,
): void {
  const found = hex(value);
  if (isUnchecked(policy)) checks.unchecked(code, policy.unchecked, found);
  else checks.check(code, policy.anyOf.includes(found), oneOf(policy.anyOf), found);
}

export function oneOf(values: readonly string[]): string {
  const [first = "nothing"] = values;
  return values.length > 1
    ? `one of ${values.length}: ${values.slice(0, 4).join(", ")}${values.length > 4 ? ", …" : ""}`
    : first;
}

function checkAttributes(checks: Checks<TdxCode>, value: bigint, policy: TdxPolicy["attributes"]): void {
  checks.check("tdx.td.debug", !isSet(value, TD_ATTRIBUTE.DEBUG), "DEBUG clear", mask(value));
  const names = attributeNames(value).filter((name): name is PolicyAttribute => name !== "DEBUG");
  const reserved = reservedAttributes(value);
  const missing = policy.required.filter((name) => !names.includes(name));
  const excess = names.filter((name) => !policy.required.includes(name) && !policy.allowed.includes(name));
  const wrong = [
    ...missing.map((name) => `${name} is clear`),
    ...excess.map((name) => `${name} is set`),
    ...(reserved === 0n ? [] : [`reserved bits ${mask(reserved)} are set`]),
  ];
  const required = policy.required.length === 0 ? "none required" : `${policy.required.join(", ")} set`;
  const allowed = policy.allowed.length === 0 ? "no other" : `at most also ${policy.allowed.join(", ")}`;
  checks.check(
    "tdx.td.attributes",
    wrong.length === 0,
    `${required}; ${allowed}`,
    wrong.length === 0 ? mask(value) : `${mask(value)}: ${wrong.join("; ")}`,
  );
}

function checkXfam(checks: Checks<TdxCode>, value: bigint, allowed: string): void {
  const excess = value & ~(BigInt(allowed) | XFAM_FIXED);
  const complete = (value & XFAM_FIXED) === XFAM_FIXED;
  checks.check(
    "tdx.td.xfam",
    excess === 0n && complete,
    `0x3 set, nothing outside of ${allowed}`,
    mask(value),
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
  const found = `${bound.length === 0 ? "none" : bound.join(", ")}${extended ? ", SERVTD_EXT" : ""}`;
  if (policy === "none") checks.check("tdx.td.service-td", bound.length === 0 && !extended, "none", found);
  else
    checks.check(
      "tdx.td.service-td",
      bound.every((hash) => policy.anyOf.includes(hash)),
      oneOf(policy.anyOf),
      found,
    );
}

function checkDevices(checks: Checks<TdxCode>, td: TdReport, policy: TdxPolicy["devices"]): void {
  const hash = td.type === 4 && !isZero(td.fields.devInfo) ? hex(td.fields.devInfo) : undefined;
  const allowed = policy === "none" ? [] : policy.anyOf;
  checks.check(
    "tdx.td.devices",
    hash === undefined || allowed.includes(hash),
    policy === "none" ? "none" : oneOf(allowed),
    hash ?? "none",
  );
}
