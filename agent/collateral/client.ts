/**
 * Gets collateral from AMD's key distribution service and Intel's provisioning certification service, and keeps it in a
 * directory that serves offline just as well. What was kept is used while it is fresh; where a service can't be reached,
 * what is kept is used though it is not, for the verifier judges its age. Never replaces a newer part by an older one,
 * and keeps none that is dated ahead of the clock: what is genuine would be the older one from then on.
 */
import { utimesSync } from "node:fs";
import { join } from "node:path";
import type { Collateral } from "../attest/appraise.ts";
import { isAhead } from "../attest/collateral-bundle.ts";
import { attempt, Malformed } from "../attest/malformed.ts";
import type { Product } from "../attest/snp/product.ts";
import type { VcekQuery } from "../attest/snp/vcek-query.ts";
import { parseQeIdentity, parseTcbInfo } from "../attest/tdx/documents.ts";
import { cutSignedJson } from "../attest/tdx/signed-json.ts";
import { parseCertificate, parseCrl, parsePemCertificates } from "../attest/x509.ts";
import { SealetError } from "../error.ts";
import { Coalescer } from "./coalesce.ts";
import { PATH, readOptional, readSnp, readTdx, readVcek, replaceFile, writtenAt } from "./directory.ts";
import type { Answer, Get } from "./http.ts";

const AMD_KDS = "https://kdsintf.amd.com";
const INTEL_PCS = "https://api.trustedservices.intel.com";
const INTEL_CERTIFICATES = "https://certificates.trustedservices.intel.com";

export interface ClientOptions {
  readonly directory: string;
  /** undefined: offline; only the directory serves. */
  readonly get: Get | undefined;
  /** ms since 1970. */
  readonly now: () => number;
  /** After it a part is asked for again, though it is still valid. */
  readonly maxAgeMs?: number;
  readonly amd?: string;
  readonly intel?: string;
  readonly intelCertificates?: string;
  /** Told of each part that stays as it was although it should be newer. */
  readonly onProblem?: (problem: SealetError) => void;
}

const DAY_MS = 24 * 3600 * 1000;

/** What a part says of its own time, once it was read; certificates never get old here. */
interface Span {
  readonly issued: number;
  readonly until: number;
}
const FOR_EVER: Span = { issued: 0, until: Number.POSITIVE_INFINITY };

interface Part {
  readonly path: string;
  readonly url: URL;
  /** Throws where the bytes are not what they should be. */
  readonly read: (body: Uint8Array) => Span;
  /** The header that has the signer's chain. */
  readonly chainHeader?: string;
}

export interface Platform {
  readonly fmspc: string;
  readonly ca: "platform" | "processor";
}

export class CollateralClient {
  readonly #options: ClientOptions;
  readonly #running = new Coalescer<void>();

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Everything about one product line but chips' certificates. @throws COLLATERAL_UNAVAILABLE where there is nothing */
  async snp(product: Product, signal: AbortSignal): Promise<NonNullable<Collateral["snp"][Product]>> {
    await this.#obtain(this.#amdPart(PATH.chain(product, "vcek"), readChainSpan), signal);
    await this.#obtain(this.#amdPart(PATH.crl(product, "vcek"), readCrlSpan), signal);
    await this.#optional(this.#amdPart(PATH.chain(product, "vlek"), readChainSpan), signal);
    const collateral = readSnp(this.#options.directory, product);
    if (collateral === undefined) throw missing(`${product}'s certificates`);
    return collateral;
  }

  /** A chip's certificate, for the TCB that a report names. */
  async vcek(query: VcekQuery, signal: AbortSignal): Promise<Uint8Array> {
    const { product, hwid, tcb } = query;
    if (
      !/^(?:[0-9a-f]{128}|[0-9a-f]{16})$/.test(hwid) ||
      !/^[a-zA-Z]+=\d{1,3}(?:&[a-zA-Z]+=\d{1,3}){3,4}$/.test(tcb)
    )
      throw new SealetError(
        "COLLATERAL_INVALID",
        "The chip or its TCB is not of the form that AMD's service takes",
      );
    const url = new URL(`/vcek/v1/${product}/${hwid}?${tcb}`, this.#options.amd ?? AMD_KDS);
    await this.#obtain({ path: PATH.vcek(query), url, read: readCertificateSpan }, signal);
    return readVcek(this.#options.directory, query) ?? raise(missing("the chip's certificate"));
  }

  /** What a quote of this platform is verified with. @throws COLLATERAL_UNAVAILABLE where a part is not to be had */
  async tdx({ fmspc, ca }: Platform, signal: AbortSignal): Promise<NonNullable<Collateral["tdx"]>> {
    if (!/^[0-9a-f]{12}$/.test(fmspc))
      throw new SealetError("COLLATERAL_INVALID", "The FMSPC is not 6 bytes of hex");
    const { directory, intel = INTEL_PCS, intelCertificates = INTEL_CERTIFICATES } = this.#options;
    const tcb = new URL("/tdx/certification/v4/tcb", intel);
    tcb.searchParams.set("fmspc", fmspc);
    const pckCrl = new URL("/sgx/certification/v4/pckcrl", intel);
    pckCrl.searchParams.set("ca", ca);
    pckCrl.searchParams.set("encoding", "der");
    const parts: Part[] = [
      { path: PATH.tcbInfo(fmspc), url: tcb, read: readTcbInfoSpan, chainHeader: "tcb-info-issuer-chain" },
      {
        path: PATH.qeIdentity,
        url: new URL("/tdx/certification/v4/qe/identity", intel),
        read: readQeIdentitySpan,
        chainHeader: "sgx-enclave-identity-issuer-chain",
      },
      { path: PATH.pckCrl(ca), url: pckCrl, read: readCrlSpan },
      { path: PATH.rootCrl, url: new URL("/IntelSGXRootCA.der", intelCertificates), read: readCrlSpan },
    ];
    // Each to its end: what is to be had is kept, and nothing is written after this returned.
    const obtained = await Promise.allSettled(parts.map((part) => this.#obtain(part, signal)));
    for (const part of obtained) if (part.status === "rejected") throw part.reason;
    return readTdx(directory) ?? raise(missing(`collateral for FMSPC ${fmspc}`));
  }

  #amdPart(path: string, read: Part["read"]): Part {
    return { path, url: new URL(`/${path}`, this.#options.amd ?? AMD_KDS), read };
  }

  async #optional(part: Part, signal: AbortSignal): Promise<void> {
    try {
      await this.#obtain(part, signal);
    } catch (thrown) {
      if (!(thrown instanceof SealetError) || thrown.code === "CANCELLED") throw thrown;
      this.#options.onProblem?.(thrown);
    }
  }

  /** Sees to it that the part's file is there, and as new as can be. */
  #obtain(part: Part, signal: AbortSignal): Promise<void> {
    return this.#running.join(part.path, signal, (shared) => this.#refresh(part, shared));
  }

  async #refresh(part: Part, signal: AbortSignal): Promise<void> {
    const { directory, get, now, maxAgeMs = DAY_MS, onProblem } = this.#options;
    const path = join(directory, part.path);
    const kept = keptSpan(path, part);
    const age = now() - (writtenAt(path) ?? 0);
    if (kept !== undefined && (kept === FOR_EVER || (age >= 0 && age < maxAgeMs && now() < kept.until)))
      return;
    if (get === undefined) {
      if (kept === undefined) throw missing(`${part.path} (offline)`);
      return;
    }
    try {
      const answer = await get(part.url, signal);
      const span = inspect(part, answer);
      if (isAhead(span.issued, now()))
        throw new SealetError(
          "COLLATERAL_INVALID",
          `${part.url.host} answered a ${part.path} that is issued ${new Date(span.issued).toISOString()}, ahead of this machine's clock`,
        );
      if (kept !== undefined && span.issued < kept.issued)
        throw new SealetError(
          "COLLATERAL_ROLLED_BACK",
          `${part.url.host} answered an older ${part.path} than is kept`,
        );
      if (part.chainHeader !== undefined)
        replaceFile(
          join(directory, PATH.issuerChain(part.path)),
          chainOf(answer, part.chainHeader, part.url),
        );
      replaceFile(path, answer.body);
      // its age counts by the clock that it is compared with
      utimesSync(path, now() / 1000, now() / 1000);
    } catch (thrown) {
      if (!(thrown instanceof SealetError) || thrown.code === "CANCELLED" || kept === undefined) throw thrown;
      onProblem?.(thrown);
    }
  }
}

function raise(error: SealetError): never {
  throw error;
}

const missing = (what: string): SealetError =>
  new SealetError("COLLATERAL_UNAVAILABLE", `There is no ${what}`);

function keptSpan(path: string, part: Part): Span | undefined {
  const body = readOptional(path);
  if (
    body === undefined ||
    (part.chainHeader !== undefined && readOptional(PATH.issuerChain(path)) === undefined)
  )
    return undefined;
  const span = attempt(() => part.read(body));
  return span.ok ? span.value : undefined;
}

/** @throws COLLATERAL_UNAVAILABLE, COLLATERAL_INVALID */
function inspect(part: Part, { status, body }: Answer): Span {
  if (status !== 200) throw missing(`${part.url.pathname}${part.url.search} at ${part.url.host}`);
  const span = attempt(() => part.read(body));
  if (span.ok) return span.value;
  const { code, why } = span.refusal;
  throw new SealetError(
    "COLLATERAL_INVALID",
    `${part.url.host} answered what is no ${part.path}: ${code}, ${why}`,
  );
}

/** Intel sends the chain percent-encoded in a header. */
function chainOf({ headers }: Answer, name: string, url: URL): Uint8Array {
  const value = headers[name];
  if (value === undefined) throw new SealetError("COLLATERAL_INVALID", `${url.host} sent no ${name}`);
  let pem: string;
  try {
    pem = decodeURIComponent(value);
  } catch (cause) {
    throw new SealetError("COLLATERAL_INVALID", `${url.host} sent a ${name} that is not percent-encoded`, {
      cause,
    });
  }
  const parsed = attempt(() => parsePemCertificates(pem, name));
  if (!parsed.ok) throw new SealetError("COLLATERAL_INVALID", `${url.host} sent a ${name} that is no chain`);
  return new TextEncoder().encode(pem);
}

function readCertificateSpan(body: Uint8Array): Span {
  parseCertificate(body);
  return FOR_EVER;
}

function readChainSpan(body: Uint8Array): Span {
  const chain = parsePemCertificates(new TextDecoder("latin1").decode(body), "cert_chain");
  if (chain.length !== 2)
    throw new Malformed("UNEXPECTED", "cert_chain", 0, `${chain.length} certificates, not 2`);
  return FOR_EVER;
}

function readCrlSpan(body: Uint8Array): Span {
  const { thisUpdate, nextUpdate } = parseCrl(body);
  return { issued: thisUpdate, until: nextUpdate };
}

function readTcbInfoSpan(body: Uint8Array): Span {
  const { issueDate, nextUpdate } = parseTcbInfo(cutSignedJson(body, "tcbInfo").body);
  return { issued: issueDate, until: nextUpdate };
}

function readQeIdentitySpan(body: Uint8Array): Span {
  const { issueDate, nextUpdate } = parseQeIdentity(cutSignedJson(body, "enclaveIdentity").body);
  return { issued: issueDate, until: nextUpdate };
}
