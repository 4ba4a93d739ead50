/**
 * The lowest firmware that is free of what AMD's bulletins describe. Each line has its source; a policy enforces all of
 * them at once (`bulletins: "enforced"`) and may demand more.
 */
import type { Product, TcbComponent } from "./product.ts";

/** Committed firmware version, compared from left to right. */
export type FirmwareVersion = readonly [major: number, minor: number, build: number];

export interface Minimum {
  readonly product: Product;
  readonly source: string;
  readonly cve: string;
  readonly about: string;
  readonly component?: { readonly name: TcbComponent; readonly svn: number };
  readonly firmware?: FirmwareVersion;
}

export const MINIMA_DATE = "2026-11-23";

export const MINIMA: readonly Minimum[] = [
  {
    product: "Milan",
    source: "AMD-SB-3015",
    cve: "CVE-2024-21944",
    about: "memory aliasing by forged SPD data (BadRAM)",
    firmware: [1, 55, 22],
  },
  {
    product: "Genoa",
    source: "AMD-SB-3015",
    cve: "CVE-2024-21944",
    about: "memory aliasing by forged SPD data (BadRAM)",
    firmware: [1, 55, 38],
  },
  {
    product: "Milan",
    source: "AMD-SB-3019",
    cve: "CVE-2024-56161",
    about: "microcode patches of the attacker's own are loaded (EntrySign)",
    component: { name: "snp", svn: 0x18 },
  },
  {
    product: "Genoa",
    source: "AMD-SB-3019",
    cve: "CVE-2024-56161",
    about: "microcode patches of the attacker's own are loaded (EntrySign)",
    component: { name: "snp", svn: 0x17 },
  },
];

export function firmwareBelow(a: FirmwareVersion, b: FirmwareVersion): boolean {
  for (let i = 0; i < 3; i++) {
    const [left = 0, right = 0] = [a[i], b[i]];
    if (left !== right) return left < right;
  }
  return false;
}
