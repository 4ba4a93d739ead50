/**
 * Appraises an SEV-SNP report: bytes, collateral, policy and time in, verdict out. Cheap predicates come first; the
 * report's own signature, the dearest, is the last.
 */
import type { Crypto } from "../crypto.ts";
import { attempt, describeRefusal, type Result } from "../malformed.ts";
import { SignatureCache } from "../signature-cache.ts";
import { Checks, type Verdict } from "../verdict.ts";
import { parseCertificateTable, type CertificateTable } from "./certificate-table.ts";
import { checkChain, checkChainSignatures, right, type SnpCollateral } from "./check-chain.ts";
import {
  checkChip,
  checkGuest,
  checkIdentity,
  checkProductAllowed,
  checkSigner,
  type SnpExpectation,
} from "./check-policy.ts";
import { checkCertificateMatch, checkChipId, checkShape, fitsReport, type Shape } from "./check-report.ts";
import { checkTcb } from "./check-tcb.ts";
import { snpClaims } from "./claims.ts";
import type { SnpPolicy } from "./policy.ts";
import { SNP_DEMANDED, type SnpCode } from "./predicates.ts";
import { PRODUCTS, type Product } from "./product.ts";
import { REPORT, signatureP1363, SIGNED_SIZE, type Report } from "./report.ts";
import { readVek, type Vek } from "./vek.ts";

export interface SnpInput {
  /** 1184 bytes. */
  readonly report: Uint8Array;
  /** The extended report's certificate table, or nothing. */
  readonly certificates: Uint8Array;
  readonly collateral: { readonly [P in Product]?: SnpCollateral | undefined };
  readonly policy: SnpPolicy;
  /** ms since 1970 */
  readonly at: number;
  readonly expect: SnpExpectation;
  readonly crypto: Crypto;
  readonly cache?: SignatureCache | undefined;
  /** Stop before the first signature where a cheaper predicate failed already: for services that are flooded. */
  readonly brief?: boolean | undefined;
}

type SnpChecks = Checks<SnpCode>;

export async function verifySnp(input: SnpInput): Promise<Verdict> {
  const checks: SnpChecks = new Checks();
  // copied: the caller's buffers may change while signatures are verified
  const bytes = new Uint8Array(input.report);
  const report = checks.parsed(
    "snp.length",
    "1184 bytes",
    attempt(() => REPORT.decode(bytes)),
  );
  if (report === undefined) return checks.verdict("sev-snp", SNP_DEMANDED, {});
  const vek = await verifyReport(checks, report, bytes, input);
  return checks.verdict("sev-snp", SNP_DEMANDED, () => snpClaims(report, vek));
}

/** @returns the VEK, where there was one to read */
async function verifyReport(
  checks: SnpChecks,
  report: Report,
  bytes: Uint8Array,
  input: SnpInput,
): Promise<Vek | undefined> {
  const cache = input.cache ?? new SignatureCache();
  const shape = checkShape(checks, report, bytes);
  // INVARIANT: nothing that the host added is parsed before the report itself is well-formed
  if (checks.failed) return undefined;
  const vek = findVek(checks, report, shape, input, cache);
  if (vek === undefined) return undefined;
  checkCertificateMatch(checks, report, shape, vek);
  if (checks.failed) return vek;
  const product = checkProductAllowed(checks, vek.product, input.policy);
  if (product === undefined) return vek;

  const { policy, expect, crypto, at } = input;
  checkSigner(checks, vek, policy);
  checkIdentity(checks, report, policy, expect);
  checkGuest(checks, report, policy);
  checkChipId(checks, report, vek);
  checkChip(checks, report, vek, policy, product);
  checkTcb(checks, report, vek, policy, product);
  if (checks.failed && input.brief === true) return vek;

  const chainInput = { crypto, cache, collateral: input.collateral[vek.product], policy, product, at };
  const chain = await checkChain(checks, vek, chainInput);
  if (chain === undefined || (checks.failed && input.brief === true)) return vek;
  await checkChainSignatures(checks, vek, chain, chainInput);
  if (checks.failed && input.brief === true) return vek;
  const signed = await crypto.verify(
    "ecdsa-p384-sha384",
    vek.certificate.publicKey.spki,
    signatureP1363(report),
    bytes.subarray(0, SIGNED_SIZE),
  );
  checks.check("snp.report-signature", signed, "right", right(signed));
  return vek;
}

/**
 * The VEK from the evidence, or from collateral where the evidence brings none that fits the report: hosts serve tables
 * without one, or with that of an earlier TCB. It is believed only once the whole chain holds.
 */
function findVek(
  checks: SnpChecks,
  report: Report,
  shape: Shape,
  input: SnpInput,
  cache: SignatureCache,
): Vek | undefined {
  const empty: Result<CertificateTable> = { ok: true, value: {} };
  const result =
    input.certificates.length === 0 ? empty : attempt(() => parseCertificateTable(input.certificates));
  const table = checks.parsed("snp.certificate-table", "well-formed, or none", result);
  if (table === undefined) return undefined;
  const expected = `a ${shape.signer} certificate`;
  const given = shape.signer === "VLEK" ? table.vlek : table.vcek;
  // without CPUID (version 2) there is no telling the product line: whichever collateral has a VEK
  const { cpu } = shape;
  const products = cpu?.kind === "product" ? [cpu.product] : PRODUCTS;
  const [first, ...others] = [given, ...products.map((product) => input.collateral[product]?.vek)].filter(
    (der) => der !== undefined,
  );
  if (first === undefined) {
    checks.check("snp.certificate", false, expected, "neither in the evidence nor in collateral");
    return undefined;
  }
  const read = (der: Uint8Array): Result<Vek> => {
    const certificate = cache.certificate(der, "VEK certificate");
    return certificate.ok ? attempt(() => readVek(certificate.value)) : certificate;
  };
  const fits = (vek: Result<Vek>): boolean => vek.ok && fitsReport(vek.value, report, shape);
  let vek = read(first);
  // where none fits, the first one's own predicates say what is wrong
  if (!fits(vek)) vek = others.map(read).find(fits) ?? vek;
  checks.check("snp.certificate", vek.ok, expected, vek.ok ? expected : describeRefusal(vek.refusal));
  return vek.ok ? vek.value : undefined;
}
