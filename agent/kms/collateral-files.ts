/**
 * AMD's endorsements as files in the KMS's directory, under the paths that AMD's key distribution service gives them:
 * `vcek/v1/Milan/cert_chain` (PEM: ASK, ARK), `vlek/v1/Milan/cert_chain` (PEM: ASVK, ARK), `vcek/v1/Milan/crl` (DER).
 * Intel's as `collateral/directory.ts` has them. They are signed; where they came from does not matter, and the verifier pins the root.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Collateral } from "../attest/appraise.ts";
import { splitPem } from "../attest/base64.ts";
import { Malformed } from "../attest/malformed.ts";
import { PRODUCTS, type Product } from "../attest/snp/product.ts";
import { readTdx } from "../collateral/directory.ts";
import { SealetError } from "../error.ts";

type SnpFiles = NonNullable<Collateral["snp"][Product]>;

/** @throws CONFIG_INVALID for a file that is there and cannot be read */
export function readCollateral(directory: string): Collateral {
  const products = PRODUCTS.map((product) => [product, readProduct(directory, product)] as const);
  return { snp: Object.fromEntries(products), tdx: readTdx(directory) };
}

function readProduct(directory: string, product: Product): SnpFiles | undefined {
  const at = (endpoint: string, file: string) => join(directory, endpoint, "v1", product, file);
  const vcek = readChain(at("vcek", "cert_chain"));
  const vlek = readChain(at("vlek", "cert_chain"));
  const ark = vcek?.ark ?? vlek?.ark;
  if (ark === undefined) return undefined;
  const crl = readOptional(at("vcek", "crl")) ?? readOptional(at("vlek", "crl"));
  return { ark, ask: vcek?.signer, asvk: vlek?.signer, crl };
}

function readChain(path: string): { signer: Uint8Array; ark: Uint8Array } | undefined {
  const bytes = readOptional(path);
  if (bytes === undefined) return undefined;
  try {
    const [signer, ark, ...more] = splitPem(bytes.toString("latin1"), path);
    if (signer === undefined || ark === undefined || more.length > 0)
      throw new Malformed("UNEXPECTED", path, 0, "not two certificates");
    return { signer: signer.der, ark: ark.der };
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", `The certificate chain ${path} cannot be read`, { cause });
  }
}

function readOptional(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new SealetError("CONFIG_INVALID", `The collateral ${path} cannot be read`, { cause });
  }
}
