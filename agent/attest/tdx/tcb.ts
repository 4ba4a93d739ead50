/**
 * Intel's rating of a platform: which TCB level it is on, and the one status word that platform, TDX module and quoting
 * enclave converge to. Pure arithmetic over documents that were verified before. It never rates better than Intel's own
 * library does.
 *
 * @see Intel PCS API v4, "TCB level comparison"; Intel DCAP QVL, checks 4.1.2.4.17
 */
import type {
  EnclaveLevel,
  ModuleStatus,
  PlatformStatus,
  TcbInfo,
  TcbLevel,
  TdxModuleIdentity,
} from "./documents.ts";

export const TCB_STATUS = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "TDRelaunchAdvised",
  "TDRelaunchAdvisedConfigurationNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
  /** The platform, its module or its quoting enclave is below every level that Intel names. */
  "NotSupported",
] as const;
export type TcbStatus = (typeof TCB_STATUS)[number];

/** What the PCK certificate says of the platform. */
interface PlatformTcb {
  /** 16 SGX TCB components. */
  readonly components: readonly number[];
  readonly pceSvn: number;
}

export interface TcbRating {
  readonly status: TcbStatus;
  /** ms since 1970: the oldest of the dates of the levels that were matched; undefined if one is missing. */
  readonly tcbDate: number | undefined;
  /** Security advisories of all levels that were matched, sorted. */
  readonly advisories: readonly string[];
  readonly platform: PlatformStatus | "NotSupported";
  readonly module: ModuleStatus | "NotSupported";
  readonly quotingEnclave: ModuleStatus | "NotSupported";
}

/** The first level whose every component the platform reaches; levels are listed from the newest down. */
function matchPlatformLevel(
  info: TcbInfo,
  platform: PlatformTcb,
  teeTcbSvn: Uint8Array | undefined,
): TcbLevel | undefined {
  return info.tcbLevels.find(
    (level) =>
      level.sgx.every((svn, i) => (platform.components[i] ?? -1) >= svn) &&
      platform.pceSvn >= level.pceSvn &&
      (teeTcbSvn === undefined || reachesTdx(teeTcbSvn, level)),
  );
}

/** From TDX module 1.5 on (svn[1] > 0) components 0 and 1 are the module's own version, rated by its identity. */
function reachesTdx(teeTcbSvn: Uint8Array, level: TcbLevel): boolean {
  const from = (teeTcbSvn[1] ?? 0) > 0 ? 2 : 0;
  return level.tdx.every((svn, i) => i < from || (teeTcbSvn[i] ?? -1) >= svn);
}

export type ModuleMatch =
  | { readonly kind: "platform" } // module 1.0: rated with the platform's components
  | {
      readonly kind: "identity";
      readonly identity: TdxModuleIdentity;
      readonly level: EnclaveLevel | undefined;
    }
  | { readonly kind: "unknown"; readonly id: string };

/** The identity that Intel publishes for the module's major version, and the level its version reaches. */
export function matchModule(info: TcbInfo, teeTcbSvn: Uint8Array): ModuleMatch {
  const [isvSvn = 0, major = 0] = teeTcbSvn;
  if (major === 0) return { kind: "platform" };
  const id = `TDX_${major.toString(16).padStart(2, "0").toUpperCase()}`;
  const identity = info.tdxModuleIdentities.find((module) => module.id === id);
  if (identity === undefined) return { kind: "unknown", id };
  return { kind: "identity", identity, level: identity.tcbLevels.find((level) => isvSvn >= level.isvSvn) };
}

/** An old component makes an otherwise current platform old; a revoked one makes all revoked. */
export function converge(status: TcbStatus, component: ModuleStatus | "NotSupported"): TcbStatus {
  if (status === "Revoked" || component === "Revoked") return "Revoked";
  if (status === "NotSupported" || component === "NotSupported") return "NotSupported";
  if (component === "UpToDate") return status;
  return OUTDATED[status];
}

/** What a status becomes where the module or the quoting enclave is out of date. */
const OUTDATED = {
  UpToDate: "OutOfDate",
  SWHardeningNeeded: "OutOfDate",
  TDRelaunchAdvised: "OutOfDate",
  OutOfDate: "OutOfDate",
  ConfigurationNeeded: "OutOfDateConfigurationNeeded",
  ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
  TDRelaunchAdvisedConfigurationNeeded: "OutOfDateConfigurationNeeded",
  OutOfDateConfigurationNeeded: "OutOfDateConfigurationNeeded",
} as const satisfies Record<Exclude<TcbStatus, "Revoked" | "NotSupported">, TcbStatus>;

export interface TcbEvidence {
  readonly platform: PlatformTcb;
  /** The TCB that the TD was launched under. */
  readonly teeTcbSvn: Uint8Array;
  /** The TCB that it runs on now (TDX 1.5). */
  readonly teeTcbSvn2: Uint8Array | undefined;
  /** The level of the QE identity that the quoting enclave reaches. */
  readonly qeLevel: EnclaveLevel | undefined;
}

export function rateTcb(info: TcbInfo, evidence: TcbEvidence): TcbRating {
  const { platform, teeTcbSvn, teeTcbSvn2, qeLevel } = evidence;
  const level = matchPlatformLevel(info, platform, teeTcbSvn);
  const module = matchModule(info, teeTcbSvn);
  const moduleLevel = module.kind === "identity" ? module.level : undefined;
  const platformStatus = level?.status ?? "NotSupported";
  const moduleStatus = module.kind === "platform" ? "UpToDate" : (moduleLevel?.status ?? "NotSupported");
  const qeStatus = qeLevel?.status ?? "NotSupported";

  let status: TcbStatus = converge(platformStatus, moduleStatus);
  if (teeTcbSvn2 !== undefined && moduleStatus === "OutOfDate" && qeStatus === "UpToDate")
    status = relaunch(info, platform, teeTcbSvn2, status);
  const levels = [level, qeLevel, ...(module.kind === "platform" ? [] : [moduleLevel])];
  const dates = levels.map((matched) => matched?.tcbDate);
  return {
    status: converge(status, qeStatus),
    tcbDate: dates.reduce((oldest, date) =>
      oldest === undefined || date === undefined ? undefined : Math.min(oldest, date),
    ),
    advisories: [...new Set(levels.flatMap((matched) => matched?.advisories ?? []))].toSorted(),
    platform: platformStatus,
    module: moduleStatus,
    quotingEnclave: qeStatus,
  };
}

/**
 * Where only the module was old at launch, and a TD-preserving update made it current, the advice is to launch the TD
 * again. @see Intel DCAP QVL, 4.1.2.4.17.4.3
 */
function relaunch(
  info: TcbInfo,
  platform: PlatformTcb,
  teeTcbSvn2: Uint8Array,
  status: TcbStatus,
): TcbStatus {
  if (status !== "OutOfDate" && status !== "OutOfDateConfigurationNeeded") return status;
  const sgx = matchPlatformLevel(info, platform, undefined)?.status;
  if (sgx === undefined || sgx === "Revoked" || sgx === "OutOfDate" || sgx === "OutOfDateConfigurationNeeded")
    return status;
  const newest = info.tcbLevels[0];
  if (newest === undefined) return status;
  const [isvSvn = 0, , microcode = 0] = teeTcbSvn2;
  const module = matchModule(info, teeTcbSvn2);
  if (module.kind === "unknown") return "NotSupported";
  const newestModule = module.kind === "platform" ? newest.tdx[0] : module.identity.tcbLevels[0]?.isvSvn;
  if (newestModule === undefined || isvSvn < newestModule || microcode < (newest.tdx[2] ?? 0)) return status;
  return status === "OutOfDateConfigurationNeeded" || (sgx !== "UpToDate" && sgx !== "SWHardeningNeeded")
    ? "TDRelaunchAdvisedConfigurationNeeded"
    : "TDRelaunchAdvised";
}
