/** Predicates about versions of firmware: certificate, order, the policy's minima and AMD's bulletins. All cheap. */
import { checkRule } from "../rule.ts";
import type { Unchecked } from "../policy-fields.ts";
import type { Checks } from "../verdict.ts";
import { MINIMA, MINIMA_DATE, firmwareBelow, type FirmwareVersion } from "./minima.ts";
import type { SnpPolicy, SnpProductPolicy } from "./policy.ts";
import type { SnpCode } from "./predicates.ts";
import { decodeTcb, sameTcb, tcbBelow, tcbText, type Product, type Tcb } from "./product.ts";
import { VERSIONS, type Report } from "./report.ts";
import type { Vek } from "./vek.ts";

type SnpChecks = Checks<SnpCode>;

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

export function checkTcb(
  checks: SnpChecks,
  report: Report,
  vek: Vek,
  policy: SnpPolicy,
  product: SnpProductPolicy,
): void {
  const show = (tcb: Tcb): string => tcbText(vek.product, tcb);
  const tcbs = readTcbs(vek.product, report);
  const { reported, committed, current, launch } = tcbs;
  checks.check(
    "snp.certificate-tcb",
    sameTcb(vek.tcb, reported),
    () => show(reported),
    () => show(vek.tcb),
  );
  const above = tcbBelow(committed, reported);
  const aboveCurrent = tcbBelow(current, committed);
  checks.check(
    "snp.tcb-order",
    above.length + aboveCurrent.length === 0,
    "reported ≤ committed ≤ current",
    () =>
      [
        ...above.map((name) => `reported ${name} above committed`),
        ...aboveCurrent.map((name) => `committed ${name} above current`),
      ].join(", ") || "so",
  );
  checkMinimum(checks, "snp.minimum-tcb", product.minimumTcb, reported, show);
  checkMinimum(checks, "snp.minimum-launch-tcb", product.minimumLaunchTcb, launch, show);
  const version = committedFirmware(report);
  checkRule(
    checks,
    "snp.minimum-firmware",
    product.minimumFirmware,
    () => version.join("."),
    ({ major, minor, build }) => !firmwareBelow(version, [major, minor, build]),
    ({ major, minor, build }) => `at least ${major}.${minor}.${build}`,
  );
  checkBulletins(checks, policy, vek.product, reported, version);
  checkRule(
    checks,
    "snp.provisional-firmware",
    policy.provisionalFirmware,
    () => `${currentFirmware(report).join(".")}: ${show(current)}`,
    () => sameTcb(committed, current) && currentFirmware(report).every((part, i) => part === version[i]),
    () => `${version.join(".")}: ${show(committed)}`,
  );
  checkMitigations(checks, policy, report);
}

function checkMinimum(
  checks: SnpChecks,
  code: "snp.minimum-tcb" | "snp.minimum-launch-tcb",
  minimum: Omit<Tcb, "fmc"> | Tcb | Unchecked,
  found: Tcb,
  show: (tcb: Tcb) => string,
): void {
  checkRule(
    checks,
    code,
    minimum,
    () => show(found),
    (floor) => tcbBelow(found, { fmc: 0, ...floor }).length === 0,
    (floor) => `at least ${show({ fmc: 0, ...floor })}`,
  );
}

function checkBulletins(
  checks: SnpChecks,
  { bulletins }: SnpPolicy,
  product: Product,
  reported: Tcb,
  version: FirmwareVersion,
): void {
  const open = MINIMA.filter(
    ({ product: line, component, firmware }) =>
      line === product &&
      ((component !== undefined && reported[component.name] < component.svn) ||
        (firmware !== undefined && firmwareBelow(version, firmware))),
  );
  checkRule(
    checks,
    "snp.bulletins",
    bulletins,
    () => open.map(({ source, cve }) => `${source} (${cve}) is not met`).join(", ") || "all met",
    () => open.length === 0,
    () => `all met of those known on ${MINIMA_DATE}`,
  );
}

function checkMitigations(checks: SnpChecks, policy: SnpPolicy, report: Report): void {
  const { version, launchMitVector, currentMitVector } = report;
  checkRule(
    checks,
    "snp.mitigations",
    policy.mitigations,
    () =>
      version < VERSIONS.mitigationsSince
        ? `none in a report of version ${version}`
        : vectors(launchMitVector, currentMitVector),
    ({ launch, current }) =>
      version >= VERSIONS.mitigationsSince &&
      includes(launchMitVector, mask(launch)) &&
      includes(currentMitVector, mask(current)),
    ({ launch, current }) => `at least ${vectors(mask(launch), mask(current))}`,
  );
}

function vectors(launch: bigint, current: bigint): string {
  return `launch 0x${launch.toString(16)}, current 0x${current.toString(16)}`;
}

function mask(bits: readonly number[]): bigint {
  return bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
}

function includes(vector: bigint, demanded: bigint): boolean {
  return (vector & demanded) === demanded;
}
