/**
 * Product lines of SEV-SNP: how a report's CPUID and a certificate's product name them, their TCB layouts, and AMD's root
 * key of each. A processor without an entry is refused.
 */
import { Malformed } from "../malformed.ts";

export const PRODUCTS = ["Milan", "Genoa", "Turin"] as const;
export type Product = (typeof PRODUCTS)[number];

/** SHA-256 of the DER of AMD's ARK certificates, from AMD's KDS. A root is never taken from evidence. */
export const AMD_ROOTS = {
  Milan: "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
  Genoa: "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
  Turin: "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
} as const satisfies Record<Product, string>;

interface CpuRange {
  readonly family: number;
  readonly models: readonly [from: number, to: number];
  readonly line: Product | "Venice";
  readonly name: string;
}

const CPUS: readonly CpuRange[] = [
  { family: 0x19, models: [0x00, 0x0f], line: "Milan", name: "Milan" },
  { family: 0x19, models: [0x10, 0x1f], line: "Genoa", name: "Genoa" },
  { family: 0x19, models: [0xa0, 0xaf], line: "Genoa", name: "Bergamo or Siena" },
  { family: 0x1a, models: [0x00, 0x11], line: "Turin", name: "Turin" },
  // AMD has published no root for these yet: known, and refused by name
  { family: 0x1a, models: [0x50, 0x57], line: "Venice", name: "Venice" },
  { family: 0x1a, models: [0x90, 0xaf], line: "Venice", name: "Venice" },
  { family: 0x1a, models: [0xc0, 0xc7], line: "Venice", name: "Venice" },
];

export type CpuIdentity =
  | { readonly kind: "product"; readonly product: Product; readonly name: string }
  | { readonly kind: "unsupported"; readonly name: string };

export function productOfCpu(family: number, model: number): CpuIdentity {
  const found = CPUS.find((cpu) => cpu.family === family && cpu.models[0] <= model && model <= cpu.models[1]);
  if (found === undefined)
    return { kind: "unsupported", name: `family 0x${family.toString(16)} model 0x${model.toString(16)}` };
  if (found.line === "Venice")
    return { kind: "unsupported", name: "Venice, for which AMD has published no root" };
  return { kind: "product", product: found.line, name: found.name };
}

const CERTIFICATE_NAMES: Readonly<Record<string, Product>> = {
  Milan: "Milan",
  Genoa: "Genoa",
  Bergamo: "Genoa",
  Siena: "Genoa",
  Turin: "Turin",
};

/** The line of a certificate's product name: "Milan-B0" (VCEK) or "Milan" (VLEK). */
export function productOfName(name: string): Product | undefined {
  const [line = "", stepping, ...more] = name.split("-");
  if (more.length > 0 || (stepping !== undefined && !/^[A-Z][0-9]$/.test(stepping))) return undefined;
  return Object.hasOwn(CERTIFICATE_NAMES, line) ? CERTIFICATE_NAMES[line] : undefined;
}

export const TCB_COMPONENTS = ["fmc", "bootloader", "tee", "snp", "microcode"] as const;
export type TcbComponent = (typeof TCB_COMPONENTS)[number];

/** Security version numbers, compared one by one and never as one integer. `fmc` is Turin's only, zero elsewhere. */
export type Tcb = { readonly [Component in TcbComponent]: number };

/** Byte of each component in a TCB_VERSION (Table 3 and 4); undefined: the product has no such component. */
const TCB_LAYOUT = {
  Milan: { fmc: undefined, bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  Genoa: { fmc: undefined, bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  Turin: { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 },
} as const satisfies Record<Product, Record<TcbComponent, number | undefined>>;

export function decodeTcb(product: Product, bytes: Uint8Array): Tcb {
  if (bytes.length !== 8) throw new Malformed("UNEXPECTED", "TCB", 0, "not 8 bytes");
  const layout = TCB_LAYOUT[product];
  const at = (byte: number | undefined): number => (byte === undefined ? 0 : (bytes[byte] ?? 0));
  return {
    fmc: at(layout.fmc),
    bootloader: at(layout.bootloader),
    tee: at(layout.tee),
    snp: at(layout.snp),
    microcode: at(layout.microcode),
  };
}

export function encodeTcb(product: Product, tcb: Tcb): Uint8Array {
  const bytes = new Uint8Array(8);
  for (const component of TCB_COMPONENTS) {
    const byte = TCB_LAYOUT[product][component];
    if (byte !== undefined) bytes[byte] = tcb[component];
  }
  return bytes;
}

/** Bytes that belong to no component. */
const TCB_RESERVED = { Milan: [2, 3, 4, 5], Genoa: [2, 3, 4, 5], Turin: [4, 5, 6] } as const satisfies Record<
  Product,
  readonly number[]
>;

/** The first byte that belongs to no component and is not zero. */
export function tcbReserved(product: Product, bytes: Uint8Array): number | undefined {
  for (const at of TCB_RESERVED[product]) if (bytes[at] !== 0) return at;
  return undefined;
}

export function hasComponent(product: Product, component: TcbComponent): boolean {
  return TCB_LAYOUT[product][component] !== undefined;
}

/** The components in which `a` is below `b`. */
export function tcbBelow(a: Tcb, b: Tcb): TcbComponent[] {
  return TCB_COMPONENTS.filter((component) => a[component] < b[component]);
}

export function sameTcb(a: Tcb, b: Tcb): boolean {
  return TCB_COMPONENTS.every((component) => a[component] === b[component]);
}

export function tcbText(product: Product, tcb: Tcb): string {
  return TCB_COMPONENTS.filter((component) => hasComponent(product, component))
    .map((component) => `${component} ${tcb[component]}`)
    .join(", ");
}
