/** Structural predicates of a report: what holds for each genuine one, whatever the policy. All cheap. */
import { equalBytes, hex, isZero } from "../bytes.ts";
import type { Checks } from "../verdict.ts";
import { decodeTcb, productOfCpu, sameTcb, tcbReserved, type CpuIdentity } from "./product.ts";
import {
  keyInfo,
  POLICY_ALWAYS_ONE,
  REPORT,
  unknownPlatformBits,
  unknownPolicyBits,
  VERSIONS,
  type Report,
  type Signer,
} from "./report.ts";
import type { SnpCode } from "./predicates.ts";
import type { Vek } from "./vek.ts";

type SnpChecks = Checks<SnpCode>;

const bitsText = (value: bigint): string => `0x${value.toString(16)}`;

/** What the report says of who signed it and on what processor; undefined where that is not acceptable. */
export interface Shape {
  readonly signer: Signer | undefined;
  /** undefined before version 3: then the certificate alone says it. */
  readonly cpu: CpuIdentity | undefined;
}

export function checkShape(checks: SnpChecks, report: Report, bytes: Uint8Array): Shape {
  const { version } = report;
  const supported = version >= VERSIONS.minimum && version <= VERSIONS.maximum;
  checks.check("snp.version", supported, `${VERSIONS.minimum} to ${VERSIONS.maximum}`, String(version));
  checkReserved(checks, report, bytes);
  checks.check(
    "snp.signature-algorithm",
    report.signatureAlgorithm === 1,
    "1 (ECDSA P-384 with SHA-384)",
    String(report.signatureAlgorithm),
  );
  const zeroSignature = isZero(report.signatureR) || isZero(report.signatureS);
  checks.check(
    "snp.signature-encoding",
    !zeroSignature,
    "r and s not zero",
    zeroSignature ? "zero" : "not zero",
  );
  const key = keyInfo(report.keyInfo);
  checks.check(
    "snp.key-info",
    key.signer !== undefined && !key.maskChipKey && key.unknownBits === 0,
    "VCEK or VLEK, chip key not masked, unknown bits zero",
    () =>
      `${key.signer ?? "no key"}${key.maskChipKey ? ", chip key masked" : ""}, 0x${report.keyInfo.toString(16)}`,
  );
  const { policy, platformInfo } = report;
  checks.check(
    "snp.policy-bits",
    (policy & POLICY_ALWAYS_ONE) !== 0n && unknownPolicyBits(policy) === 0n,
    "bit 17 one, unknown bits zero",
    () => bitsText(policy),
  );
  checks.check("snp.platform-bits", unknownPlatformBits(platformInfo) === 0n, "unknown bits zero", () =>
    bitsText(platformInfo),
  );
  const cpu = version < VERSIONS.cpuidSince ? undefined : productOfCpu(report.cpuidFamily, report.cpuidModel);
  checks.check(
    "snp.product",
    cpu?.kind !== "unsupported",
    "a product line with a root of AMD's",
    () => cpu?.name ?? `not in a report of version ${version}`,
  );
  return { signer: key.signer, cpu };
}

function checkReserved(checks: SnpChecks, report: Report, bytes: Uint8Array): void {
  const reserved = REPORT.reserved(bytes);
  let found =
    reserved === undefined ? undefined : `byte 0x${reserved.offset.toString(16)} (${reserved.name})`;
  if (
    report.version < VERSIONS.cpuidSince &&
    (report.cpuidFamily | report.cpuidModel | report.cpuidStepping) !== 0
  )
    found ??= `CPUID in a report of version ${report.version}`;
  if (report.version < VERSIONS.mitigationsSince && (report.launchMitVector | report.currentMitVector) !== 0n)
    found ??= `mitigation vectors in a report of version ${report.version}`;
  checks.check("snp.reserved", found === undefined, "zero", found ?? "zero");
}

/** The certificate against the report's own word. */
export function checkCertificateMatch(checks: SnpChecks, report: Report, shape: Shape, vek: Vek): void {
  checks.check("snp.certificate-kind", vek.signer === shape.signer, shape.signer ?? "none", vek.signer);
  const { cpu } = shape;
  const expected = cpu?.kind === "product" ? cpu.product : undefined;
  checks.check(
    "snp.certificate-product",
    cpu === undefined ? vek.product !== "Turin" : vek.product === expected,
    expected ?? "Milan or Genoa: Turin's reports name their processor",
    () => `${vek.product} (${vek.productName})`,
  );
  const problems = (["reportedTcb", "committedTcb", "currentTcb", "launchTcb"] as const).flatMap((field) => {
    const at = tcbReserved(expected ?? vek.product, report[field]);
    return at === undefined ? [] : [`${field} byte ${at}`];
  });
  checks.check("snp.tcb-reserved", problems.length === 0, "zero", problems.join(", ") || "zero");
}

/** As a report has it: zeros after Turin's 8 bytes. */
function padHwid(hwid: Uint8Array): Uint8Array {
  const padded = new Uint8Array(64);
  padded.set(hwid);
  return padded;
}

/** Whether it is for this report by kind, product line, chip and TCB. Says which one to look at, and decides nothing. */
export function fitsReport(vek: Vek, report: Report, { signer, cpu }: Shape): boolean {
  return (
    vek.signer === signer &&
    (cpu?.kind !== "product" || cpu.product === vek.product) &&
    (vek.hwid === undefined || equalBytes(padHwid(vek.hwid), report.chipId)) &&
    sameTcb(vek.tcb, decodeTcb(vek.product, report.reportedTcb))
  );
}

/** For a VCEK the chip; a VLEK's report names none. Zero is never a wildcard. */
export function checkChipId(checks: SnpChecks, report: Report, vek: Vek): void {
  const { chipId } = report;
  if (vek.hwid === undefined) {
    checks.check("snp.chip-id", isZero(chipId), "zero (VLEK)", () => hex(chipId));
    return;
  }
  const padded = padHwid(vek.hwid);
  const ok = equalBytes(padded, chipId) && !isZero(chipId);
  checks.check(
    "snp.chip-id",
    ok,
    () => hex(padded),
    () => hex(chipId),
  );
}
