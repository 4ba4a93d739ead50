/**
 * The chain from a VEK to AMD's root, and the root's revocation list. The chain is exactly root, ASK or ASVK, VEK: there
 * is no path building, and no root but the one that the policy names for the product line.
 */
import {
  isCurrent,
  isRevoked,
  issuerProblem,
  isValidAt,
  timeText,
  unknownCritical,
  validityText,
} from "../chain.ts";
import type { Crypto } from "../crypto.ts";
import { describeRefusal, type Result } from "../malformed.ts";
import { isUnchecked } from "../policy-fields.ts";
import type { SignatureCache } from "../signature-cache.ts";
import type { Checks } from "../verdict.ts";
import { commonName, serialText, type Certificate, type CertificateList } from "../x509.ts";
import type { SnpPolicy, SnpProductPolicy } from "./policy.ts";
import type { SnpCode } from "./predicates.ts";
import { AMD_ROOTS, type Product } from "./product.ts";
import type { Vek } from "./vek.ts";

/** AMD's endorsements for one product line, DER. */
export interface SnpCollateral {
  readonly ark: Uint8Array;
  readonly ask?: Uint8Array | undefined;
  readonly asvk?: Uint8Array | undefined;
  readonly crl?: Uint8Array | undefined;
  /** Taken where the evidence brings no VEK that fits the report. */
  readonly vek?: Uint8Array | undefined;
}

export interface ChainInput {
  readonly crypto: Crypto;
  readonly cache: SignatureCache;
  readonly collateral: SnpCollateral | undefined;
  readonly policy: SnpPolicy;
  readonly product: SnpProductPolicy;
  readonly at: number;
}

export interface Chain {
  readonly root: Certificate;
  readonly intermediate: Certificate;
  /** undefined where it is not there, or where the policy says that revocation is not checked */
  readonly crl: CertificateList | undefined;
}

type SnpChecks = Checks<SnpCode>;

/** Everything about the chain but signatures. @returns undefined where something is missing */
export async function checkChain(checks: SnpChecks, vek: Vek, input: ChainInput): Promise<Chain | undefined> {
  const { collateral, cache, at } = input;
  const root = parsed(collateral?.ark, (der) => cache.certificate(der, "ARK certificate"));
  const rootKnown = await checkRoot(checks, root, vek.product, input);
  const vlek = vek.signer === "VLEK";
  if (rootKnown === undefined) return undefined;
  const intermediate = parsed(vlek ? collateral?.asvk : collateral?.ask, (der) =>
    cache.certificate(der, vlek ? "ASVK certificate" : "ASK certificate"),
  );
  if (!checkIntermediate(checks, intermediate, rootKnown, vek)) return undefined;
  const problem = issuerProblem(intermediate, vek.certificate, { casBelow: 0 });
  checks.check("snp.issuer", problem === undefined, commonName(intermediate.subject) ?? "", problem ?? "so");
  const chain = [rootKnown, intermediate, vek.certificate];
  const invalid = chain.filter((certificate) => !isValidAt(certificate, at));
  checks.check(
    "snp.validity",
    invalid.length === 0,
    () => `valid at ${timeText(at)}`,
    () =>
      invalid
        .map((certificate) => `${commonName(certificate.subject)} ${validityText(certificate)}`)
        .join(", ") || "so",
  );
  return { root: rootKnown, intermediate, crl: checkCrl(checks, rootKnown, intermediate, input) };
}

/** @returns the parsed object, or what is wrong */
function parsed<T extends object>(
  der: Uint8Array | undefined,
  parse: (der: Uint8Array) => Result<T>,
): T | string {
  if (der === undefined) return "missing";
  const result = parse(der);
  return result.ok ? result.value : describeRefusal(result.refusal);
}

async function checkRoot(
  checks: SnpChecks,
  root: Certificate | string,
  product: Product,
  { crypto, cache, product: policy, at }: ChainInput,
): Promise<Certificate | undefined> {
  const pin = policy.root === "amd" ? AMD_ROOTS[product] : policy.root.sha256;
  const expected = `SHA-256 ${pin}`;
  if (typeof root === "string") {
    checks.check("snp.root", false, expected, root);
    return undefined;
  }
  const found = await cache.fingerprint(crypto, root);
  if (!checks.check("snp.root", found === pin, expected, `SHA-256 ${found}`)) return undefined;
  cache.keep(root, at);
  return root;
}

function checkIntermediate(
  checks: SnpChecks,
  intermediate: Certificate | string,
  root: Certificate,
  vek: Vek,
): intermediate is Certificate {
  const expected = vek.signer === "VLEK" ? `SEV-VLEK-${vek.product}` : `SEV-${vek.product}`;
  if (typeof intermediate === "string") {
    checks.check("snp.intermediate", false, expected, intermediate);
    return false;
  }
  const name = commonName(intermediate.subject) ?? "no common name";
  const { publicKey } = intermediate;
  const critical = unknownCritical(intermediate);
  const problem =
    (name === expected ? undefined : name) ??
    issuerProblem(root, intermediate, { casBelow: 0 }) ??
    (publicKey.kind === "rsa" && publicKey.bits === 4096
      ? undefined
      : "public key is not RSA of 4096 bits") ??
    (critical === undefined ? undefined : `critical extension ${critical} is not known here`);
  return checks.check("snp.intermediate", problem === undefined, expected, problem ?? name);
}

function checkCrl(
  checks: SnpChecks,
  root: Certificate,
  intermediate: Certificate,
  { collateral, cache, policy, at }: ChainInput,
): CertificateList | undefined {
  if (isUnchecked(policy.crl)) {
    const { unchecked } = policy.crl;
    for (const code of ["snp.crl", "snp.crl-current", "snp.revocation"] as const)
      checks.unchecked(code, unchecked, "not looked at");
    return undefined;
  }
  const crl = parsed(collateral?.crl, (der) => cache.crl(der));
  if (typeof crl === "string") {
    checks.check("snp.crl", false, "a revocation list", crl);
    return undefined;
  }
  const problem = issuerProblem(root, crl, { casBelow: 0, crl: true });
  if (!checks.check("snp.crl", problem === undefined, "issued by the root", problem ?? "so"))
    return undefined;
  const since = Date.parse(policy.crl.issuedSince);
  checks.check(
    "snp.crl-current",
    isCurrent(crl, at) && crl.thisUpdate >= since,
    () => `valid at ${timeText(at)}, issued since ${timeText(since)}`,
    () => `${timeText(crl.thisUpdate)} to ${timeText(crl.nextUpdate)}`,
  );
  const revoked = isRevoked(crl, intermediate.serial);
  checks.check(
    "snp.revocation",
    !revoked,
    "not revoked",
    () => `serial ${serialText(intermediate.serial)} ${revoked ? "revoked" : "not revoked"}`,
  );
  return crl;
}

/** The chain's signatures: RSA, all at once, asked of the crypto only where not known from before. */
export async function checkChainSignatures(
  checks: SnpChecks,
  vek: Vek,
  { root, intermediate, crl }: Chain,
  { crypto, cache, policy, at }: ChainInput,
): Promise<void> {
  const known =
    cache.knows(intermediate, root.publicKey) &&
    cache.knows(vek.certificate, intermediate.publicKey) &&
    (crl === undefined || cache.knows(crl, root.publicKey));
  const [intermediateRight, crlRight, vekRight] = known
    ? [true, true, true]
    : await Promise.all([
        cache.isSignedBy(crypto, intermediate, root.publicKey, at),
        crl === undefined || cache.isSignedBy(crypto, crl, root.publicKey, at),
        cache.isSignedBy(crypto, vek.certificate, intermediate.publicKey, at),
      ]);
  checks.check("snp.intermediate-signature", intermediateRight, "right", right(intermediateRight));
  if (isUnchecked(policy.crl)) checks.unchecked("snp.crl-signature", policy.crl.unchecked, "not looked at");
  else if (crl !== undefined) checks.check("snp.crl-signature", crlRight, "right", right(crlRight));
  checks.check("snp.certificate-signature", vekRight, "right", right(vekRight));
}

export function right(ok: boolean): string {
  return ok ? "right" : "wrong";
}
