/**
 * Collateral as files, under the paths that AMD's and Intel's services give them: what the client keeps, and what an
 * operator without a network brings. Files are replaced whole (write, fsync, rename), so that a reader never sees half.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Collateral, Evidence } from "../attest/appraise.ts";
import { splitPem } from "../attest/base64.ts";
import { Malformed } from "../attest/malformed.ts";
import { PRODUCTS, type Product } from "../attest/snp/product.ts";
import { vcekQuery, type VcekQuery } from "../attest/snp/vcek-query.ts";
import type { SignedDocument } from "../attest/tdx/facts.ts";
import { SealetError, errnoOf } from "../error.ts";

type SnpCollateral = NonNullable<Collateral["snp"][Product]>;
type TdxCollateral = NonNullable<Collateral["tdx"]>;

/** Where each part lies; the same paths as at the services, as far as they have any. */
export const PATH = {
  chain: (product: Product, endpoint: "vcek" | "vlek") => `${endpoint}/v1/${product}/cert_chain`,
  crl: (product: Product, endpoint: "vcek" | "vlek") => `${endpoint}/v1/${product}/crl`,
  vcek: ({ product, hwid, tcb }: VcekQuery) => `vcek/v1/${product}/${hwid}/${tcb}.der`,
  tcbInfo: (fmspc: string) => `tdx/certification/v4/tcb/${fmspc}.json`,
  qeIdentity: "tdx/certification/v4/qe/identity.json",
  pckCrl: (ca: "platform" | "processor") => `sgx/certification/v4/pckcrl/${ca}.der`,
  rootCrl: "sgx/certification/v4/rootcacrl.der",
  /** The chain of who signed a document of Intel's, PEM. */
  issuerChain: (document: string) => `${document}.issuer.pem`,
} as const;

/** @throws CONFIG_INVALID for a file that is there and can't be read */
export function readDirectory(directory: string): Collateral {
  const products = PRODUCTS.map((product) => [product, readSnp(directory, product)] as const);
  return { snp: Object.fromEntries(products), tdx: readTdx(directory) };
}

export function readSnp(directory: string, product: Product): SnpCollateral | undefined {
  const vcek = readChain(join(directory, PATH.chain(product, "vcek")));
  const vlek = readChain(join(directory, PATH.chain(product, "vlek")));
  const ark = vcek?.ark ?? vlek?.ark;
  if (ark === undefined) return undefined;
  const crl =
    readOptional(join(directory, PATH.crl(product, "vcek"))) ??
    readOptional(join(directory, PATH.crl(product, "vlek")));
  return { ark, ask: vcek?.signer, asvk: vlek?.signer, crl };
}

/** A chip's certificate for the TCB that a report names. */
export function readVcek(directory: string, query: VcekQuery): Uint8Array | undefined {
  return readOptional(join(directory, PATH.vcek(query)));
}

/**
 * With the kept certificate of the chip that signed a report, for exactly its TCB: for evidence that brings none, or that
 * of an earlier TCB.
 */
export function withKeptVcek(
  collateral: Collateral,
  { tee, report }: Evidence,
  directories: readonly string[],
): Collateral {
  if (tee !== "sev-snp") return collateral;
  const snp = { ...collateral.snp };
  for (const product of PRODUCTS) {
    const files = snp[product];
    if (files === undefined) continue;
    const query = vcekQuery(report, product);
    if (!query.ok || query.value.product !== product) continue;
    const kept = directories.map((directory) => readVcek(directory, query.value));
    const vek = kept.find((found) => found !== undefined);
    if (vek !== undefined) snp[product] = { ...files, vek };
  }
  return { ...collateral, snp };
}

/** @returns undefined where there is nothing of Intel's */
export function readTdx(directory: string): TdxCollateral | undefined {
  const tcbInfo = new Map<string, SignedDocument>();
  for (const name of listOptional(join(directory, dirname(PATH.tcbInfo(""))))) {
    const fmspc = /^([0-9a-f]{12})\.json$/.exec(name)?.[1];
    const document = fmspc === undefined ? undefined : readDocument(directory, PATH.tcbInfo(fmspc));
    if (fmspc !== undefined && document !== undefined) tcbInfo.set(fmspc, document);
  }
  const qeIdentity = readDocument(directory, PATH.qeIdentity);
  const rootCrl = readOptional(join(directory, PATH.rootCrl));
  const platform = readOptional(join(directory, PATH.pckCrl("platform")));
  const processor = readOptional(join(directory, PATH.pckCrl("processor")));
  if (tcbInfo.size === 0 && [qeIdentity, rootCrl, platform, processor].every((part) => part === undefined))
    return undefined;
  return { tcbInfo, qeIdentity, rootCrl, pckCrl: { platform, processor } };
}

function readDocument(directory: string, path: string): SignedDocument | undefined {
  const body = readOptional(join(directory, path));
  const issuerChain = readOptional(join(directory, PATH.issuerChain(path)));
  return body === undefined || issuerChain === undefined ? undefined : { body, issuerChain };
}

function readChain(path: string): { signer: Uint8Array; ark: Uint8Array } | undefined {
  const bytes = readOptional(path);
  return bytes === undefined ? undefined : splitChain(bytes, path);
}

/** ASK or ASVK, then ARK, as AMD's `cert_chain` has them. @throws COLLATERAL_INVALID */
function splitChain(pem: Uint8Array, what: string): { signer: Uint8Array; ark: Uint8Array } {
  try {
    const [signer, ark, ...more] = splitPem(new TextDecoder("latin1").decode(pem), what);
    if (signer === undefined || ark === undefined || more.length > 0)
      throw new Malformed("UNEXPECTED", what, 0, "not two certificates");
    return { signer: signer.der, ark: ark.der };
  } catch (cause) {
    throw new SealetError("COLLATERAL_INVALID", `The certificate chain ${what} cannot be read`, { cause });
  }
}

export function readOptional(path: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw new SealetError("CONFIG_INVALID", `The collateral ${path} cannot be read`, { cause });
  }
}

function listOptional(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return [];
    throw new SealetError("CONFIG_INVALID", `The collateral ${path} cannot be read`, { cause });
  }
}

/** When the file was written or looked up again, ms since 1970. */
export function writtenAt(path: string): number | undefined {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return undefined;
  }
}

/** @throws STORE_FAILED */
export function replaceFile(path: string, bytes: Uint8Array): void {
  const draft = `${path}.${process.pid}.draft`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    const fd = openSync(draft, "w", 0o644);
    try {
      writeFileSync(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, path);
    const folder = openSync(dirname(path), "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new SealetError("STORE_FAILED", `The collateral ${path} cannot be written`, { cause });
  }
}
