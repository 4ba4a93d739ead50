/**
 * Collateral as files, for commands that work offline: a directory as `sealet collateral fetch` fills it, a bundle that
 * an operator signed, or Intel's in the JSON that quote verification libraries exchange.
 */
import { statSync } from "node:fs";
import type { Collateral, Evidence } from "../attest/appraise.ts";
import type { SnpCollateral } from "../attest/snp/check-chain.ts";
import { PRODUCTS } from "../attest/snp/product.ts";
import type { TdxCollateral } from "../attest/tdx/verify.ts";
import { SealetError, reasonOf } from "../error.ts";
import { readBytes } from "./files.ts";

/**
 * Of each part the later path's wins; no path takes away what another one has.
 * @param operator whose bundles count: SubjectPublicKeyInfo, DER
 * @throws USAGE, CONFIG_INVALID, ...
 */
export async function readCollateral(paths: readonly string[], operator?: Uint8Array): Promise<Collateral> {
  let collateral: Collateral = { snp: {} };
  for (const path of paths) collateral = merge(collateral, await readPath(path, operator));
  return collateral;
}

function merge(earlier: Collateral, later: Collateral): Collateral {
  const products = PRODUCTS.map(
    (product) => [product, mergeSnp(earlier.snp[product], later.snp[product])] as const,
  );
  return { snp: Object.fromEntries(products), tdx: mergeTdx(earlier.tdx, later.tdx) };
}

function mergeSnp(earlier: SnpCollateral | undefined, later: SnpCollateral | undefined) {
  if (earlier === undefined || later === undefined) return later ?? earlier;
  return {
    ark: later.ark,
    ask: later.ask ?? earlier.ask,
    asvk: later.asvk ?? earlier.asvk,
    crl: later.crl ?? earlier.crl,
    vek: later.vek ?? earlier.vek,
  };
}

function mergeTdx(earlier: TdxCollateral | undefined, later: TdxCollateral | undefined) {
  if (earlier === undefined || later === undefined) return later ?? earlier;
  return {
    tcbInfo: new Map([...earlier.tcbInfo, ...later.tcbInfo]),
    qeIdentity: later.qeIdentity ?? earlier.qeIdentity,
    rootCrl: later.rootCrl ?? earlier.rootCrl,
    pckCrl: {
      platform: later.pckCrl.platform ?? earlier.pckCrl.platform,
      processor: later.pckCrl.processor ?? earlier.pckCrl.processor,
    },
  };
}

/**
 * With the certificate of the chip that signed a report, for evidence that brings none that fits.
 * @param vek a VCEK or VLEK, DER; without it directories are searched for the report's VCEK
 */
export async function withVek(
  collateral: Collateral,
  evidence: Evidence,
  paths: readonly string[],
  vek?: Uint8Array,
): Promise<Collateral> {
  if (vek === undefined) {
    const { withKeptVcek } = await import("../collateral/directory.ts");
    return withKeptVcek(collateral, evidence, paths.filter(isDirectory));
  }
  const snp = Object.entries(collateral.snp).flatMap(([product, files]) =>
    files === undefined ? [] : [[product, { ...files, vek }]],
  );
  return { ...collateral, snp: Object.fromEntries(snp) };
}

async function readPath(path: string, operator: Uint8Array | undefined): Promise<Collateral> {
  if (isDirectory(path)) return (await import("../collateral/directory.ts")).readDirectory(path);
  const bytes = readBytes(path);
  const { parseEnvelope } = await import("../attest/dsse.ts");
  if (parseEnvelope(bytes).ok) return readBundle(path, bytes, operator);
  const { parseIntelCollateral } = await import("./intel-collateral.ts");
  return { snp: {}, tdx: parseIntelCollateral(bytes, path) };
}

async function readBundle(
  path: string,
  bytes: Uint8Array,
  operator: Uint8Array | undefined,
): Promise<Collateral> {
  if (operator === undefined)
    throw new SealetError(
      "USAGE",
      `${path} is a signed bundle: only 'sealet verify' takes it, with --operator for whose key has to have signed it`,
    );
  const [{ openEnvelope }, { COLLATERAL_PAYLOAD_TYPE, parseBundle }, { nodeCrypto }] = await Promise.all([
    import("../attest/dsse.ts"),
    import("../attest/collateral-bundle.ts"),
    import("../crypto/node.ts"),
  ]);
  const opened = await openEnvelope(nodeCrypto(), bytes, COLLATERAL_PAYLOAD_TYPE, [operator]);
  if (!opened.ok) throw new SealetError("SIGNATURE_INVALID", `${path}: ${opened.why}`);
  const bundle = parseBundle(opened.payload);
  if (!bundle.ok) throw new SealetError("COLLATERAL_INVALID", `${path}: ${bundle.refusal.why}`);
  return bundle.value.collateral;
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    throw new SealetError("USAGE", `${path} cannot be read: ${reasonOf(cause)}`, { cause });
  }
}
