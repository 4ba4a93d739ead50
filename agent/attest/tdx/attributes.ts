/**
 * TD attributes and extended features by name. A bit that has no name here is reserved: it must be zero.
 *
 * @see Intel TDX Module 1.5 ABI, TD ATTRIBUTES, XFAM; Intel SDM vol. 1, §13.1
 */
export const TD_ATTRIBUTE = {
  DEBUG: 0n,
  ICSSD: 16n,
  SERVTD_EXT: 17n,
  LASS: 27n,
  SEPT_VE_DISABLE: 28n,
  MIGRATABLE: 29n,
  PKS: 30n,
  KL: 31n,
  TPA: 62n,
  PERFMON: 63n,
} as const satisfies Record<string, bigint>;

export type TdAttribute = keyof typeof TD_ATTRIBUTE;

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a constant
const TD_ATTRIBUTES = Object.keys(TD_ATTRIBUTE) as readonly TdAttribute[];

/** XFAM bits 0 and 1 (x87, SSE) are fixed to one. */
export const XFAM_FIXED = 0x3n;

export const isSet = (value: bigint, bit: bigint): boolean => ((value >> bit) & 1n) === 1n;

/** A TD attribute that a policy may speak of. DEBUG is none: a TD that its host may read is always refused. */
export type PolicyAttribute = Exclude<TdAttribute, "DEBUG">;
export const POLICY_ATTRIBUTES = TD_ATTRIBUTES.filter((name): name is PolicyAttribute => name !== "DEBUG");

const BIT = TD_ATTRIBUTES.map((name) => [name, 1n << TD_ATTRIBUTE[name]] as const);
const BITS: ReadonlyMap<string, bigint> = new Map(BIT);
const NAMED = BIT.reduce((bits, [, bit]) => bits | bit, 0n);
export const DEBUG_BIT = 1n << TD_ATTRIBUTE.DEBUG;

export function attributeNames(value: bigint): TdAttribute[] {
  return BIT.filter(([, bit]) => (value & bit) !== 0n).map(([name]) => name);
}

export function attributeBits(names: readonly TdAttribute[]): bigint {
  return names.reduce((bits, name) => bits | (BITS.get(name) ?? 0n), 0n);
}

/** Bits that no name stands for. */
export function reservedAttributes(value: bigint): bigint {
  return value & ~NAMED;
}

export const mask = (value: bigint): string => `0x${value.toString(16).padStart(16, "0")}`;
