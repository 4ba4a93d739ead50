/**
 * What Intel signs about platforms: TCB info v3, QE identity v2. Read only after their signature was found right. Keys
 * that are not known are passed over, because Intel adds some within a version; every key that a decision rests on is
 * mandatory here and has one form.
 *
 * @see Intel PCS API v4, "Get TDX TCB Info" (TcbInfoV3), "Get TDX QE Identity" (EnclaveIdentityV2)
 */
import { utf8 } from "../bytes.ts";
import { Fields } from "../json-fields.ts";
import { Malformed } from "../malformed.ts";

/** Status words of levels in TCB info; enclaves and TDX modules have fewer. */
const PLATFORM_STATUS = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;
const MODULE_STATUS = ["UpToDate", "OutOfDate", "Revoked"] as const;

export type PlatformStatus = (typeof PLATFORM_STATUS)[number];
export type ModuleStatus = (typeof MODULE_STATUS)[number];

/** A level of an enclave or a TDX module. */
export interface EnclaveLevel {
  readonly isvSvn: number;
  /** ms since 1970, as all times here. */
  readonly tcbDate: number;
  readonly status: ModuleStatus;
  readonly advisories: readonly string[];
}

/** A level of a platform. */
export interface TcbLevel {
  /** 16 components each. */
  readonly sgx: readonly number[];
  readonly tdx: readonly number[];
  readonly pceSvn: number;
  readonly tcbDate: number;
  readonly status: PlatformStatus;
  readonly advisories: readonly string[];
}

interface TdxModule {
  readonly mrsigner: Uint8Array;
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
}

export interface TdxModuleIdentity extends TdxModule {
  /** `TDX_` and the module's major version, upper-case hexadecimal. */
  readonly id: string;
  readonly tcbLevels: readonly EnclaveLevel[];
}

interface Document {
  readonly issueDate: number;
  readonly nextUpdate: number;
  readonly tcbEvaluationDataNumber: number;
}

export interface TcbInfo extends Document {
  readonly fmspc: Uint8Array;
  readonly pceId: Uint8Array;
  readonly tdxModule: TdxModule;
  readonly tdxModuleIdentities: readonly TdxModuleIdentity[];
  /** From the newest down. */
  readonly tcbLevels: readonly TcbLevel[];
}

export interface QeIdentity extends Document {
  readonly miscselect: Uint8Array;
  readonly miscselectMask: Uint8Array;
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
  readonly mrsigner: Uint8Array;
  readonly isvprodid: number;
  readonly tcbLevels: readonly EnclaveLevel[];
}

const MAX_LEVELS = 256;
const MAX_ENCLAVE_LEVELS = 64;
const MAX_MODULES = 256;
const MAX_ADVISORIES = 256;

const svn16 = (from: Fields, key: string): number => from.integer(key, 0, 65535);
const components = (from: Fields, key: string): readonly number[] => from.integers(key, 16, "svn", 0, 255);
const advisories = (from: Fields): readonly string[] =>
  from.texts("advisoryIDs", MAX_ADVISORIES, /^[A-Z0-9-]{1,40}$/);

function readDocument(from: Fields): Document {
  return {
    issueDate: from.time("issueDate"),
    nextUpdate: from.time("nextUpdate"),
    tcbEvaluationDataNumber: from.integer("tcbEvaluationDataNumber", 1, 2 ** 31),
  };
}

function readModule(from: Fields): TdxModule {
  return {
    mrsigner: from.hex("mrsigner", 48),
    attributes: from.hex("attributes", 8),
    attributesMask: from.hex("attributesMask", 8),
  };
}

function enclaveLevels(from: Fields): readonly EnclaveLevel[] {
  return from.objects("tcbLevels", 1, MAX_ENCLAVE_LEVELS, (level) => ({
    isvSvn: svn16(level.object("tcb"), "isvsvn"),
    tcbDate: level.time("tcbDate"),
    status: level.word("tcbStatus", MODULE_STATUS),
    advisories: advisories(level),
  }));
}

/** @throws Malformed */
export function parseTcbInfo(body: Uint8Array): TcbInfo {
  const info = parse(body, "TCB info");
  info.constant("id", "TDX");
  info.constant("version", 3);
  info.constant("tcbType", 0);
  return {
    ...readDocument(info),
    fmspc: info.hex("fmspc", 6),
    pceId: info.hex("pceId", 2),
    tdxModule: readModule(info.object("tdxModule")),
    tdxModuleIdentities: info.objects("tdxModuleIdentities", 0, MAX_MODULES, (module) => ({
      id: module.text("id", /^TDX_[0-9A-Fa-f]{2}$/).toUpperCase(),
      ...readModule(module),
      tcbLevels: enclaveLevels(module),
    })),
    tcbLevels: info.objects("tcbLevels", 1, MAX_LEVELS, (level) => {
      const tcb = level.object("tcb");
      return {
        sgx: components(tcb, "sgxtcbcomponents"),
        pceSvn: svn16(tcb, "pcesvn"),
        tdx: components(tcb, "tdxtcbcomponents"),
        tcbDate: level.time("tcbDate"),
        status: level.word("tcbStatus", PLATFORM_STATUS),
        advisories: advisories(level),
      };
    }),
  };
}

/** @throws Malformed */
export function parseQeIdentity(body: Uint8Array): QeIdentity {
  const identity = parse(body, "QE identity");
  identity.constant("id", "TD_QE");
  identity.constant("version", 2);
  return {
    ...readDocument(identity),
    miscselect: identity.hex("miscselect", 4),
    miscselectMask: identity.hex("miscselectMask", 4),
    attributes: identity.hex("attributes", 16),
    attributesMask: identity.hex("attributesMask", 16),
    mrsigner: identity.hex("mrsigner", 32),
    isvprodid: svn16(identity, "isvprodid"),
    tcbLevels: enclaveLevels(identity),
  };
}

function parse(body: Uint8Array, what: string): Fields {
  const text = utf8(body, what);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Malformed("ENCODING", what, 0, "not JSON");
  }
  return new Fields(json, what);
}
