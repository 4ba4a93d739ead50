/**
 * Which VCEK a report needs, as AMD's key distribution service names it: for who has to fetch one that the evidence does
 * not bring. It believes the report for that alone; whether the certificate fits is `verify.ts`'s.
 */
import { hex, isZero } from "../bytes.ts";
import { decodeTcb, productOfCpu, type Product, type Tcb } from "./product.ts";
import { keyInfo, REPORT, VERSIONS } from "./report.ts";
import { attempt, Malformed, type Result } from "../malformed.ts";

export interface VcekQuery {
  readonly product: Product;
  /** 128 hex digits; Turin 16. */
  readonly hwid: string;
  /** Query parameters, as `blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115`. */
  readonly tcb: string;
}

/** @param productOfOld the product line to assume for a report before version 3, which does not say it */
export function vcekQuery(bytes: Uint8Array, productOfOld: Product = "Milan"): Result<VcekQuery> {
  return attempt(() => {
    const report = REPORT.decode(bytes);
    if (keyInfo(report.keyInfo).signer !== "VCEK") refuse("not signed by a VCEK");
    if (isZero(report.chipId)) refuse("the chip id is masked");
    const cpu =
      report.version < VERSIONS.cpuidSince
        ? ({ kind: "product", product: productOfOld } as const)
        : productOfCpu(report.cpuidFamily, report.cpuidModel);
    if (cpu.kind !== "product") return refuse(cpu.name);
    const { product } = cpu;
    const chip = product === "Turin" ? report.chipId.subarray(0, 8) : report.chipId;
    return { product, hwid: hex(chip), tcb: parameters(product, decodeTcb(product, report.reportedTcb)) };
  });
}

function refuse(why: string): never {
  throw new Malformed("UNSUPPORTED", "SNP report", 0, why);
}

function parameters(product: Product, { fmc, bootloader, tee, snp, microcode }: Tcb): string {
  const rest = `blSPL=${bootloader}&teeSPL=${tee}&snpSPL=${snp}&ucodeSPL=${microcode}`;
  return product === "Turin" ? `fmcSPL=${fmc}&${rest}` : rest;
}
