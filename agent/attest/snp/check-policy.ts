/** Predicates that a policy decides: reference values, minima, bits by name. All cheap. */
import { hex, isZero } from "../bytes.ts";
import { isUnchecked, type Unchecked } from "../policy-fields.ts";
import type { Checks } from "../verdict.ts";
import { MINIMA, firmwareBelow, type FirmwareVersion } from "./minima.ts";
import type { SnpPolicy, SnpProductPolicy } from "./policy.ts";
import type { SnpCode } from "./predicates.ts";
import { decodeTcb, tcbBelow, tcbText, TCB_COMPONENTS, type Product, type Tcb } from "./product.ts";
import { platformBits, policyAbi, policyBits, VERSIONS, type Report } from "./report.ts";
import type { Vek } from "./vek.ts";

type SnpChecks = Checks<SnpCode>;

export interface SnpExpectation {
  /** 64 bytes; or, for a look at evidence whose origin is not at stake, that it is not checked. */
  readonly reportData: Uint8Array | Unchecked;
  /** SHA-256 of the node's initdata; needed where the policy binds HOST_DATA to it. */
  readonly initdataDigest?: Uint8Array | undefined;
}

export interface Tcbs {
  readonly reported: Tcb;
  readonly committed: Tcb;
  readonly current: Tcb;
  readonly launch: Tcb;
}

export function readTcbs(product: Product, report: Report): Tcbs {
  return {
    reported: decodeTcb(product, report.reportedTcb),
    committed: decodeTcb(product, report.committedTcb),
    current: decodeTcb(product, report.currentTcb),
    launch: decodeTcb(product, report.launchTcb),
  };
}

export function committedFirmware(report: Report): FirmwareVersion {
  return [report.committedMajor, report.committedMinor, report.committedBuild];
}

export function currentFirmware(report: Report): FirmwareVersion {
  return [report.currentMajor, report.currentMinor, report.currentBuild];
}

/** The product's part of the policy; undefined (and a failed predicate) where it is denied. */
export function checkProductAllowed(
  checks: SnpChecks,
  product: Product,
  policy: SnpPolicy,
): SnpProductPolicy | undefined {
  const found = policy.products[product];
  const allowed = PRODUCT_NAMES.filter((name) => policy.products[name] !== "denied");
  checks.check("snp.product-allowed", found !== "denied", allowed.join(", ") || "none", product);
  return found === "denied" ? undefined : found;
}
const PRODUCT_NAMES = ["Milan", "Genoa", "Turin"] as const satisfies readonly Product[];

export function checkIdentity(
  checks: SnpChecks,
  report: Report,
  policy: SnpPolicy,
  expect: SnpExpectation,
): void {
  if (isUnchecked(expect.reportData))
    checks.unchecked("snp.report-data", expect.reportData.unchecked, hex(report.reportData));
  else checks.equal("snp.report-data", expect.reportData, report.reportData);
  if (policy.hostData === "initdata") {
    const digest = expect.initdataDigest;
    if (digest === undefined)
      checks.check(
        "snp.host-data",
        false,
        "the digest of initdata, which the caller did not give",
        hex(report.hostData),
      );
    else checks.equal("snp.host-data", digest, report.hostData);
  } else checkAnyOf(checks, "snp.host-data", policy.hostData, report.hostData);
  checkAnyOf(checks, "snp.measurement", policy.measurement, report.measurement);
  checkAnyOf(checks, "snp.id-key", policy.idKeyDigest, report.idKeyDigest);
  checkAnyOf(checks, "snp.author-key", policy.authorKeyDigest, report.authorKeyDigest);
  checkAnyOf(checks, "snp.family-id", policy.familyId, report.familyId);
  checkAnyOf(checks, "snp.image-id", policy.imageId, report.imageId);
}

function checkAnyOf(
  checks: SnpChecks,
  code: SnpCode,
  policy: { readonly anyOf: readonly string[] } | Unchecked,
  bytes: Uint8Array,
): void {
  const found = hex(bytes);
  if (isUnchecked(policy)) checks.unchecked(code, policy.unchecked, found);
  else checks.check(code, policy.anyOf.includes(found), oneOf(policy.anyOf), found);
}

const SHOWN = 4;
function oneOf(values: readonly string[]): string {
  return values.length <= SHOWN
    ? values.join(" or ")
    : `${values.slice(0, SHOWN).join(" or ")} or one of ${values.length - SHOWN} more`;
}

export function checkGuest(checks: SnpChecks, report: Report, policy: SnpPolicy): void {
  const { vmpl, guestPolicy, guestSvn, migrationAgent } = policy;
  if (isUnchecked(vmpl)) checks.unchecked("snp.vmpl", vmpl.unchecked, String(report.vmpl));
  else
    checks.check("snp.vmpl", vmpl.anyOf.includes(report.vmpl), vmpl.anyOf.join(" or "), String(report.vmpl));

  const { abi, ...bits } = guestPolicy;
  checkBits(checks, "snp.guest-policy", bits, policyBits(report.policy));
  const { major, minor } = policyAbi(report.policy);
  const abiFound = `${major}.${minor}`;
  if (isUnchecked(abi)) checks.unchecked("snp.guest-abi", abi.unchecked, abiFound);
  else {
    const ok = major > abi.minimumMajor || (major === abi.minimumMajor && minor >= abi.minimumMinor);
    checks.check("snp.guest-abi", ok, `at least ${abi.minimumMajor}.${abi.minimumMinor}`, abiFound);
  }
  checkBits(checks, "snp.platform", policy.platform, platformBits(report.platformInfo));

  const svn = String(report.guestSvn);
  if (isUnchecked(guestSvn)) checks.unchecked("snp.guest-svn", guestSvn.unchecked, svn);
  else
    checks.check("snp.guest-svn", report.guestSvn >= guestSvn.minimum, `at least ${guestSvn.minimum}`, svn);

  const agent = hex(report.reportIdMa);
  if (isUnchecked(migrationAgent)) checks.unchecked("snp.migration-agent", migrationAgent.unchecked, agent);
  else {
    const none = report.reportIdMa.every((byte) => byte === 0xff);
    checks.check("snp.migration-agent", none, "none (all ones)", none ? "none (all ones)" : agent);
  }
}

type BitRule = "set" | "clear" | Unchecked;

/** One predicate for a group of bits, with each that is not as demanded in `found`. */
function checkBits<Name extends string>(
  checks: SnpChecks,
  code: "snp.guest-policy" | "snp.platform",
  rules: { readonly [K in Name]: BitRule },
  found: { readonly [K in Name]: boolean },
): void {
  const expected: string[] = [];
  const actual: string[] = [];
  let ok = true;
  for (const name in rules) {
    const rule: BitRule = rules[name];
    if (typeof rule !== "string") continue;
    expected.push(`${name} ${rule}`);
    actual.push(`${name} ${found[name] ? "set" : "clear"}`);
    if (found[name] !== (rule === "set")) ok = false;
  }
  checks.check(code, ok, expected.join(", ") || "anything", actual.join(", ") || "not looked at");
}

export function checkSigner(checks: SnpChecks, vek: Vek, policy: SnpPolicy): void {
  const { vcek, vlek } = policy.signers;
  const denied = vek.signer === "VCEK" ? vcek === "denied" : vlek === "denied";
  if (vek.signer === "VLEK" && vlek !== "denied") {
    const ok = vek.cspId !== undefined && vlek.cspIds.includes(vek.cspId);
    checks.check("snp.signer-allowed", ok, `VLEK of ${oneOf(vlek.cspIds)}`, `VLEK of ${vek.cspId ?? "none"}`);
    return;
  }
  const allowed = [...(vcek === "allowed" ? ["VCEK"] : []), ...(vlek === "denied" ? [] : ["VLEK"])];
  checks.check("snp.signer-allowed", !denied, allowed.join(" or ") || "none", vek.signer);
}

const DENIED = new WeakMap<SnpPolicy, ReadonlySet<string>>();

/** The list may be long, and a policy object never changes. */
function deniedSet(policy: SnpPolicy): ReadonlySet<string> {
  const known = DENIED.get(policy);
  if (known !== undefined) return known;
  const made = new Set(policy.deniedChips);
  DENIED.set(policy, made);
  return made;
}

export function checkChip(
  checks: SnpChecks,
  report: Report,
  vek: Vek,
  policy: SnpPolicy,
  product: SnpProductPolicy,
): void {
  // a Turin chip is named by 8 bytes, the others by 64
  const size = vek.product === "Turin" ? 8 : 64;
  const chip = hex(report.chipId.subarray(0, size));
  const deniedChips = deniedSet(policy);
  const denied = deniedChips.has(chip) || deniedChips.has(hex(report.chipId));
  checks.check("snp.chip-denied", !denied, "not denied", denied ? `denied: ${chip}` : "not denied");
  const { chips } = product;
  if (isUnchecked(chips)) checks.unchecked("snp.chip-allowed", chips.unchecked, chip);
  else {
    const masked = isZero(report.chipId);
    checks.check(
      "snp.chip-allowed",
      !masked && chips.anyOf.includes(chip),
      oneOf(chips.anyOf),
      masked ? "no chip" : chip,
    );
  }
}

export function checkTcb(
  checks: SnpChecks,
  report: Report,
  tcbs: Tcbs,
  vek: Vek,
  policy: SnpPolicy,
  product: SnpProductPolicy,
): void {
  const show = (tcb: Tcb): string => tcbText(vek.product, tcb);
  const { reported, committed, current, launch } = tcbs;
  const same = TCB_COMPONENTS.every((component) => vek.tcb[component] === reported[component]);
  checks.check("snp.certificate-tcb", same, show(reported), show(vek.tcb));
  const above = [
    ...tcbBelow(committed, reported).map((name) => `reported ${name} above committed`),
    ...tcbBelow(current, committed).map((name) => `committed ${name} above current`),
  ];
  checks.check(
    "snp.tcb-order",
    above.length === 0,
    "reported ≤ committed ≤ current",
    above.join(", ") || "so",
  );
  checkMinimumTcb(checks, "snp.minimum-tcb", product.minimumTcb, reported, show);
  checkMinimumTcb(checks, "snp.minimum-launch-tcb", product.minimumLaunchTcb, launch, show);

  const version = committedFirmware(report);
  const { minimumFirmware } = product;
  if (isUnchecked(minimumFirmware))
    checks.unchecked("snp.minimum-firmware", minimumFirmware.unchecked, version.join("."));
  else {
    const { major, minor, build } = minimumFirmware;
    const minimum = [major, minor, build] as const;
    checks.check(
      "snp.minimum-firmware",
      !firmwareBelow(version, minimum),
      `at least ${minimum.join(".")}`,
      version.join("."),
    );
  }
  checkBulletins(checks, policy, vek.product, reported, version);
  checkProvisional(checks, policy, report, tcbs, show);
  checkMitigations(checks, policy, report);
}

function checkMinimumTcb(
  checks: SnpChecks,
  code: "snp.minimum-tcb" | "snp.minimum-launch-tcb",
  minimum: Omit<Tcb, "fmc"> | Tcb | Unchecked,
  found: Tcb,
  show: (tcb: Tcb) => string,
): void {
  if (isUnchecked(minimum)) {
    checks.unchecked(code, minimum.unchecked, show(found));
    return;
  }
  const floor: Tcb = { fmc: 0, ...minimum };
  checks.check(code, tcbBelow(found, floor).length === 0, `at least ${show(floor)}`, show(found));
}

function checkBulletins(
  checks: SnpChecks,
  policy: SnpPolicy,
  product: Product,
  reported: Tcb,
  version: FirmwareVersion,
): void {
  const open = MINIMA.filter((line) => line.product === product).flatMap((line) => {
    const { component, firmware } = line;
    const low =
      (component !== undefined && reported[component.name] < component.svn) ||
      (firmware !== undefined && firmwareBelow(version, firmware));
    return low ? [`${line.source} (${line.cve}) is not met`] : [];
  });
  const found = open.join(", ") || "all met";
  if (isUnchecked(policy.bulletins)) checks.unchecked("snp.bulletins", policy.bulletins.unchecked, found);
  else checks.check("snp.bulletins", open.length === 0, "all met", found);
}

function checkProvisional(
  checks: SnpChecks,
  policy: SnpPolicy,
  report: Report,
  { committed, current }: Tcbs,
  show: (tcb: Tcb) => string,
): void {
  const same =
    TCB_COMPONENTS.every((component) => committed[component] === current[component]) &&
    committedFirmware(report).join(".") === currentFirmware(report).join(".");
  const expected = `${committedFirmware(report).join(".")}: ${show(committed)}`;
  const found = `${currentFirmware(report).join(".")}: ${show(current)}`;
  if (isUnchecked(policy.provisionalFirmware))
    checks.unchecked("snp.provisional-firmware", policy.provisionalFirmware.unchecked, found);
  else checks.check("snp.provisional-firmware", same, expected, found);
}

function checkMitigations(checks: SnpChecks, policy: SnpPolicy, report: Report): void {
  const { mitigations } = policy;
  const { version, launchMitVector, currentMitVector } = report;
  const found =
    version < VERSIONS.mitigationsSince
      ? `none in a report of version ${version}`
      : `launch 0x${launchMitVector.toString(16)}, current 0x${currentMitVector.toString(16)}`;
  if (isUnchecked(mitigations)) {
    checks.unchecked("snp.mitigations", mitigations.unchecked, found);
    return;
  }
  const launch = mask(mitigations.launch);
  const current = mask(mitigations.current);
  const ok =
    version >= VERSIONS.mitigationsSince &&
    (launchMitVector & launch) === launch &&
    (currentMitVector & current) === current;
  const expected = `at least launch 0x${launch.toString(16)}, current 0x${current.toString(16)}`;
  checks.check("snp.mitigations", ok, expected, found);
}

function mask(bits: readonly number[]): bigint {
  return bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
}
