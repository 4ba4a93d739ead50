/** What an SNP report and its certificate say, by names: for verdicts, `explain` and EAR. Decides nothing. */
import { hex } from "../bytes.ts";
import { timeText } from "../chain.ts";
import type { Claims } from "../verdict.ts";
import { committedFirmware, currentFirmware, readTcbs } from "./check-tcb.ts";
import { hasComponent, productOfCpu, TCB_COMPONENTS, type Product, type Tcb } from "./product.ts";
import { keyInfo, platformBits, policyAbi, policyBits, VERSIONS, type Report } from "./report.ts";
import type { Vek } from "./vek.ts";

export function snpClaims(report: Report, vek: Vek | undefined): Claims {
  const { major, minor } = policyAbi(report.policy);
  const key = keyInfo(report.keyInfo);
  return {
    version: report.version,
    guestSvn: report.guestSvn,
    policy: { abi: `${major}.${minor}`, ...policyBits(report.policy) },
    familyId: hex(report.familyId),
    imageId: hex(report.imageId),
    vmpl: report.vmpl,
    platform: { ...platformBits(report.platformInfo) },
    signer: key.signer ?? "none",
    authorKeyEnabled: key.authorKeyEnabled,
    reportData: hex(report.reportData),
    measurement: hex(report.measurement),
    hostData: hex(report.hostData),
    idKeyDigest: hex(report.idKeyDigest),
    authorKeyDigest: hex(report.authorKeyDigest),
    reportId: hex(report.reportId),
    reportIdMa: hex(report.reportIdMa),
    chipId: hex(report.chipId),
    firmware: { committed: committedFirmware(report).join("."), current: currentFirmware(report).join(".") },
    ...(report.version >= VERSIONS.cpuidSince
      ? { cpuid: { family: report.cpuidFamily, model: report.cpuidModel, stepping: report.cpuidStepping } }
      : {}),
    ...(report.version >= VERSIONS.mitigationsSince
      ? {
          mitigations: {
            launch: `0x${report.launchMitVector.toString(16)}`,
            current: `0x${report.currentMitVector.toString(16)}`,
          },
        }
      : {}),
    ...productClaims(report, vek?.product ?? productOfReport(report)),
    ...(vek === undefined ? {} : { certificate: certificateClaims(vek) }),
  };
}

/** By CPUID, which version 2 does not have: then only the certificate knows it. */
function productOfReport(report: Report): Product | undefined {
  if (report.version < VERSIONS.cpuidSince) return undefined;
  const cpu = productOfCpu(report.cpuidFamily, report.cpuidModel);
  return cpu.kind === "product" ? cpu.product : undefined;
}

function certificateClaims({ certificate, productName, signer, cspId }: Vek): Claims {
  return {
    product: productName,
    kind: signer,
    ...(cspId === undefined ? {} : { cspId }),
    notBefore: timeText(certificate.notBefore),
    notAfter: timeText(certificate.notAfter),
  };
}

function productClaims(report: Report, product: Product | undefined): Claims {
  if (product === undefined) return {};
  const { reported, committed, current, launch } = readTcbs(product, report);
  return {
    product,
    tcb: {
      reported: components(product, reported),
      committed: components(product, committed),
      current: components(product, current),
      launch: components(product, launch),
    },
  };
}

function components(product: Product, tcb: Tcb): Claims {
  return Object.fromEntries(
    TCB_COMPONENTS.filter((name) => hasComponent(product, name)).map((name) => [name, tcb[name]]),
  );
}
