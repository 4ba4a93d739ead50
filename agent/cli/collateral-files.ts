/**
 * Collateral as files, for commands that work offline: a directory as `sealet collateral fetch` fills it, a bundle that
 * an operator signed, or Intel's in the JSON that quote verification libraries exchange.
 */
import { statSync } from "node:fs";
import type { Collateral, Evidence } from "../attest/appraise.ts";
import { SealetError, reasonOf } from "../error.ts";
import { readBytes } from "./files.ts";

/** Later paths win. @param operator whose bundles count: SubjectPublicKeyInfo, DER @throws USAGE, CONFIG_INVALID, ... */
export async function readCollateral(paths: readonly string[], operator?: Uint8Array): Promise<Collateral> {
  let collateral: Collateral = { snp: {} };
  for (const path of paths) {
    const { snp, tdx } = await readPath(path, operator);
    collateral = { snp: { ...collateral.snp, ...snp }, tdx: tdx ?? collateral.tdx };
  }
  return collateral;
}

/**
 * With the certificate of the chip that signed a report, for evidence that brings none.
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
      `${path} is a signed bundle: --operator says whose key has to have signed it`,
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
