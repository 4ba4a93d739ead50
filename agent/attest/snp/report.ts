/**
 * The SEV-SNP attestation report as a table, and the names of its bits (AMD SEV-SNP firmware ABI 1.58, 56860). This says
 * what the bytes are; whether they are acceptable is `appraise.ts`'s.
 */
import { structure, type Decoded } from "../bytes.ts";

export const REPORT_SIZE = 0x4a0;
/** The signature is over the bytes before this offset. */
export const SIGNED_SIZE = 0x2a0;

export const REPORT = structure("SNP report", REPORT_SIZE, [
  // Table 23
  ["version", 0x000, 4, "u32"],
  ["guestSvn", 0x004, 4, "u32"],
  ["policy", 0x008, 8, "u64"],
  ["familyId", 0x010, 16, "bytes"],
  ["imageId", 0x020, 16, "bytes"],
  ["vmpl", 0x030, 4, "u32"],
  ["signatureAlgorithm", 0x034, 4, "u32"],
  ["currentTcb", 0x038, 8, "bytes"],
  ["platformInfo", 0x040, 8, "u64"],
  ["keyInfo", 0x048, 4, "u32"],
  ["reserved0", 0x04c, 4, "zero"],
  ["reportData", 0x050, 64, "bytes"],
  ["measurement", 0x090, 48, "bytes"],
  ["hostData", 0x0c0, 32, "bytes"],
  ["idKeyDigest", 0x0e0, 48, "bytes"],
  ["authorKeyDigest", 0x110, 48, "bytes"],
  ["reportId", 0x140, 32, "bytes"],
  ["reportIdMa", 0x160, 32, "bytes"],
  ["reportedTcb", 0x180, 8, "bytes"],
  // version 3 and later; zero before
  ["cpuidFamily", 0x188, 1, "u8"],
  ["cpuidModel", 0x189, 1, "u8"],
  ["cpuidStepping", 0x18a, 1, "u8"],
  ["reserved1", 0x18b, 21, "zero"],
  ["chipId", 0x1a0, 64, "bytes"],
  ["committedTcb", 0x1e0, 8, "bytes"],
  ["currentBuild", 0x1e8, 1, "u8"],
  ["currentMinor", 0x1e9, 1, "u8"],
  ["currentMajor", 0x1ea, 1, "u8"],
  ["reserved2", 0x1eb, 1, "zero"],
  ["committedBuild", 0x1ec, 1, "u8"],
  ["committedMinor", 0x1ed, 1, "u8"],
  ["committedMajor", 0x1ee, 1, "u8"],
  ["reserved3", 0x1ef, 1, "zero"],
  ["launchTcb", 0x1f0, 8, "bytes"],
  // version 5; zero before
  ["launchMitVector", 0x1f8, 8, "u64"],
  ["currentMitVector", 0x200, 8, "u64"],
  ["reserved4", 0x208, 152, "zero"],
  // Table 139: ECDSA P-384 with SHA-384, r and s little-endian in 72 bytes each
  ["signatureR", 0x2a0, 48, "bytes"],
  ["signatureRHigh", 0x2d0, 24, "zero"],
  ["signatureS", 0x2e8, 48, "bytes"],
  ["signatureSHigh", 0x318, 24, "zero"],
  ["signatureReserved", 0x330, 368, "zero"],
]);

export type Report = Decoded<typeof REPORT.rows>;

export const VERSIONS = { minimum: 2, maximum: 5, cpuidSince: 3, mitigationsSince: 5 } as const;

/** Single bits of the guest policy (Table 9). ABI minor is 0-7, major 8-15; bit 17 is always 1. */
export const POLICY_BIT = {
  smt: 16,
  migrateMa: 18,
  debug: 19,
  singleSocket: 20,
  cxl: 21,
  memAes256Xts: 22,
  raplDisabled: 23,
  ciphertextHiding: 24,
  pageSwapDisabled: 25,
} as const;
export const POLICY_ALWAYS_ONE = 1n << 17n;
const POLICY_KNOWN = 0xffffn | POLICY_ALWAYS_ONE | bits(POLICY_BIT);

/** Bits of PLATFORM_INFO (Table 24). */
export const PLATFORM_BIT = {
  smt: 0,
  tsme: 1,
  ecc: 2,
  raplDisabled: 3,
  ciphertextHiding: 4,
  aliasCheckComplete: 5,
  iommuWriteSafe: 6,
  tio: 7,
} as const;
const PLATFORM_KNOWN = bits(PLATFORM_BIT);

function bits(table: Readonly<Record<string, number>>): bigint {
  return Object.values(table).reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
}

export const unknownPolicyBits = (policy: bigint): bigint => policy & ~POLICY_KNOWN;
export const unknownPlatformBits = (info: bigint): bigint => info & ~PLATFORM_KNOWN;

export type Bits<Table> = { readonly [Name in keyof Table]: boolean };

export function policyBits(policy: bigint): Bits<typeof POLICY_BIT> {
  return named(POLICY_BIT, policy);
}

export function platformBits(info: bigint): Bits<typeof PLATFORM_BIT> {
  return named(PLATFORM_BIT, info);
}

function named<Table extends Readonly<Record<string, number>>>(table: Table, value: bigint): Bits<Table> {
  const bitsOf = Object.entries(table).map(([name, bit]) => [name, hasBit(low32(value), bit)]);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one entry for each of the table's
  return Object.fromEntries(bitsOf) as Bits<Table>;
}

/** The half of a 64-bit field that all known bits are in. */
export function low32(value: bigint): number {
  return Number(value & 0xffffffffn);
}

export function hasBit(low: number, bit: number): boolean {
  return ((low >>> bit) & 1) === 1;
}

export function policyAbi(policy: bigint): { readonly major: number; readonly minor: number } {
  const low = Number(policy & 0xffffn);
  return { major: low >> 8, minor: low & 0xff };
}

export type Signer = "VCEK" | "VLEK";

export interface KeyInfo {
  readonly authorKeyEnabled: boolean;
  /** The chip was told not to sign with its own key: the signature is not one. */
  readonly maskChipKey: boolean;
  /** undefined: "none" or a value that is reserved */
  readonly signer: Signer | undefined;
  readonly unknownBits: number;
}

export function keyInfo(value: number): KeyInfo {
  const signing = (value >>> 2) & 7;
  return {
    authorKeyEnabled: (value & 1) === 1,
    maskChipKey: (value & 2) === 2,
    signer: signing === 0 ? "VCEK" : signing === 1 ? "VLEK" : undefined,
    unknownBits: (value & ~0x1f) >>> 0,
  };
}

/** Little-endian r and s as IEEE P1363 (big-endian, 96 bytes). */
export function signatureP1363(report: Pick<Report, "signatureR" | "signatureS">): Uint8Array {
  const raw = new Uint8Array(96);
  for (let i = 0; i < 48; i++) {
    raw[i] = report.signatureR[47 - i] ?? 0;
    raw[48 + i] = report.signatureS[47 - i] ?? 0;
  }
  return raw;
}
