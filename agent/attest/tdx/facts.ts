/**
 * What can be found out about a platform and about collateral once and for all: what the bytes say and whose signature
 * is on them. Nothing here depends on time, policy or revocation, so it may be kept (`memo.ts`); nothing here decides.
 */
import { concat, equalBytes, hex, isZero, utf8 } from "../bytes.ts";
import { isSignedBy, issuerProblem, unknownCritical } from "../chain.ts";
import type { Crypto } from "../crypto.ts";
import { attempt, Malformed, type Result } from "../malformed.ts";
import {
  commonName,
  KEY_USAGE,
  keyUsage,
  p256Spki,
  parseCrl,
  parsePemCertificates,
  type Certificate,
  type CertificateList,
} from "../x509.ts";
import { parseSgxExtension, SGX_EXTENSION, type SgxExtension } from "./pck.ts";
import type { Quote } from "./quote.ts";
import { cutSignedJson } from "./signed-json.ts";

const ROOT_NAME = "Intel SGX Root CA";
const PCK_NAME = "Intel SGX PCK Certificate";
const SIGNER_NAME = "Intel SGX TCB Signing";
const CA_NAME = { platform: "Intel SGX PCK Platform CA", processor: "Intel SGX PCK Processor CA" } as const;

export type CaKind = keyof typeof CA_NAME;

/** Expected and found, for a predicate; undefined where all is well. */
export type Problem = string | undefined;

export interface PckChain {
  readonly pck: Certificate;
  readonly ca: Certificate;
  readonly root: Certificate;
  readonly extension: SgxExtension;
  readonly caKind: CaKind | undefined;
}

/** What the bytes say, signatures apart. */
export interface PlatformFacts {
  readonly chain: PckChain;
  /** Hex SHA-256 of the root's DER. */
  readonly rootDigest: string;
  readonly nameProblem: Problem;
  readonly constraintProblem: Problem;
  /** DER SubjectPublicKeyInfo. */
  readonly attestationKey: Uint8Array;
  /** Whether the QE report's data are SHA-256 of attestation key and authentication data, then zeros. */
  readonly attestationKeyBound: boolean;
}

export interface PlatformSignatures {
  readonly chainProblem: Problem;
  /** By the PCK. */
  readonly qeReportSigned: boolean;
}

/** @throws Malformed */
export function parsePckChain(pem: Uint8Array): PckChain {
  const certificates = parsePemCertificates(utf8(pem, "PCK chain"), "PCK chain");
  const [pck, ca, root] = certificates;
  if (pck === undefined || ca === undefined || root === undefined || certificates.length !== 3)
    throw new Malformed("UNEXPECTED", "PCK chain", 0, `${certificates.length} certificates, not 3`);
  const extension = pck.extensions.get(SGX_EXTENSION);
  if (extension === undefined) throw new Malformed("MISSING", "PCK certificate", 0, "no SGX extension");
  const name = commonName(ca.subject);
  const caKind =
    name === CA_NAME.platform ? "platform" : name === CA_NAME.processor ? "processor" : undefined;
  return { pck, ca, root, extension: parseSgxExtension(extension.value), caKind };
}

export async function examinePlatform(crypto: Crypto, quote: Quote): Promise<Result<PlatformFacts>> {
  const parsed = attempt(() => parsePckChain(quote.pckChainPem));
  if (!parsed.ok) return parsed;
  const chain = parsed.value;
  const rootDigest = await crypto.digest("sha256", chain.root.der);
  const keyDigest = await crypto.digest("sha256", concat(quote.attestationKey, quote.qeAuthData));
  const { reportData } = quote.qeReport;
  return {
    ok: true,
    value: {
      chain,
      rootDigest: hex(rootDigest),
      nameProblem: nameProblem(chain),
      constraintProblem: pckConstraintProblem(chain),
      attestationKey: p256Spki(quote.attestationKey),
      attestationKeyBound:
        equalBytes(keyDigest, reportData.subarray(0, 32)) && isZero(reportData.subarray(32)),
    },
  };
}

export async function verifyPlatformSignatures(
  crypto: Crypto,
  quote: Quote,
  { pck, ca, root }: PckChain,
): Promise<PlatformSignatures> {
  const [caSigned, pckSigned, qeReportSigned] = await Promise.all([
    isSignedBy(crypto, ca, root.publicKey),
    isSignedBy(crypto, pck, ca.publicKey),
    pck.publicKey.kind === "p256" &&
      crypto.verify("ecdsa-p256-sha256", pck.publicKey.spki, quote.qeReportSignature, quote.qeReportBytes),
  ]);
  const chainProblem = caSigned ? (pckSigned ? undefined : "PCK certificate's is wrong") : "CA's is wrong";
  return { chainProblem, qeReportSigned };
}

function nameProblem({ pck, root, ca, caKind }: PckChain): Problem {
  if (commonName(pck.subject) !== PCK_NAME) return `leaf is "${commonName(pck.subject) ?? ""}"`;
  if (caKind === undefined) return `CA is "${commonName(ca.subject) ?? ""}"`;
  if (commonName(root.subject) !== ROOT_NAME) return `root is "${commonName(root.subject) ?? ""}"`;
  return undefined;
}

function pckConstraintProblem({ pck, ca, root }: PckChain): Problem {
  const problem = issuerProblem(root, ca, { casBelow: 1 }) ?? issuerProblem(ca, pck, { casBelow: 0 });
  if (problem !== undefined) return problem;
  for (const certificate of [root, ca, pck]) {
    const unknown = unknownCritical(certificate);
    if (unknown !== undefined) return `critical extension ${unknown} is not known here`;
  }
  return signerUsageProblem(pck);
}

function signerUsageProblem(certificate: Certificate): Problem {
  const usage = attempt(() => keyUsage(certificate));
  return usage.ok && usage.value?.(KEY_USAGE.digitalSignature) === true
    ? undefined
    : "keyUsage lacks digitalSignature";
}

export interface CrlFacts {
  readonly crl: CertificateList;
  readonly signatureProblem: Problem;
}

export async function examineCrl(
  crypto: Crypto,
  der: Uint8Array,
  issuer: Certificate,
): Promise<Result<CrlFacts>> {
  const parsed = attempt(() => parseCrl(der));
  if (!parsed.ok) return parsed;
  const crl = parsed.value;
  const problem = issuerProblem(issuer, crl, { casBelow: 0, crl: true });
  const signed = problem === undefined && (await isSignedBy(crypto, crl, issuer.publicKey));
  return {
    ok: true,
    value: { crl, signatureProblem: problem ?? (signed ? undefined : "signature is wrong") },
  };
}

/** Signed JSON with the chain of who signed it. Never changed once it was given to the verifier. */
export interface SignedDocument {
  /** As Intel's service answers: `{"tcbInfo":{...},"signature":"..."}`, byte for byte. */
  readonly body: Uint8Array;
  /** PEM: signer, root. */
  readonly issuerChain: Uint8Array;
}

export interface DocumentFacts<T> {
  readonly signer: Certificate;
  readonly root: Certificate;
  readonly signerProblem: Problem;
  readonly signed: boolean;
  /** Read only where the signature is right. */
  readonly document: Result<T> | undefined;
}

/** Who signs documents: the same one for all of them, as a rule. */
export interface SignerFacts {
  readonly signer: Certificate;
  readonly root: Certificate;
  /** Known when the root's signature was verified, which nothing else waits for. */
  readonly problem: Promise<Problem>;
}

export function examineSigner(crypto: Crypto, issuerChain: Uint8Array): Result<SignerFacts> {
  return attempt(() => {
    const certificates = parsePemCertificates(utf8(issuerChain, "issuer chain"), "issuer chain");
    const [signer, root] = certificates;
    if (signer === undefined || root === undefined || certificates.length !== 2)
      throw new Malformed("UNEXPECTED", "issuer chain", 0, `${certificates.length} certificates, not 2`);
    return { signer, root, problem: problemOfSigner(crypto, signer, root) };
  });
}

/** @param signers examines the chain, or knows it already */
export async function examineDocument<T>(
  crypto: Crypto,
  { body, issuerChain }: SignedDocument,
  name: "tcbInfo" | "enclaveIdentity" | "tcbEvaluationDataNumbers",
  parse: (body: Uint8Array) => T,
  signers: (issuerChain: Uint8Array) => Result<SignerFacts> = (chain) => examineSigner(crypto, chain),
): Promise<Result<DocumentFacts<T>>> {
  const envelope = attempt(() => cutSignedJson(body, name));
  if (!envelope.ok) return envelope;
  const facts = signers(issuerChain);
  if (!facts.ok) return facts;
  const { signer, root } = facts.value;
  const { publicKey } = signer;
  const [signerProblem, signed] = await Promise.all([
    facts.value.problem,
    publicKey.kind === "p256" &&
      crypto.verify("ecdsa-p256-sha256", publicKey.spki, envelope.value.signature, envelope.value.body),
  ]);
  const document = signed ? attempt(() => parse(envelope.value.body)) : undefined;
  return { ok: true, value: { signer, root, signerProblem, signed, document } };
}

async function problemOfSigner(crypto: Crypto, signer: Certificate, root: Certificate): Promise<Problem> {
  const name = commonName(signer.subject);
  if (name !== SIGNER_NAME) return `signer is "${name ?? ""}"`;
  const unknown = unknownCritical(signer) ?? unknownCritical(root);
  if (unknown !== undefined) return `critical extension ${unknown} is not known here`;
  const problem = issuerProblem(root, signer, { casBelow: 0 }) ?? signerUsageProblem(signer);
  if (problem !== undefined) return problem;
  return (await isSignedBy(crypto, signer, root.publicKey))
    ? undefined
    : "signer's certificate is not the root's";
}
