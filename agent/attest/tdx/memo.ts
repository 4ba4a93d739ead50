/**
 * Keeps what was found out about platforms and collateral (`facts.ts`), so that a platform that is known costs one
 * signature. It keeps facts of bytes, never decisions: time, revocation, TCB and policy are judged anew each time.
 * Bounded. Collateral is known by the identity of its object, so who gives it must not change its bytes afterwards.
 */
import { equalBytes, hex } from "../bytes.ts";
import type { Crypto } from "../crypto.ts";
import type { Result } from "../malformed.ts";
import type { Certificate } from "../x509.ts";
import { parseQeIdentity, parseTcbInfo, type QeIdentity, type TcbInfo } from "./documents.ts";
import {
  examineCrl,
  examineDocument,
  examinePlatform,
  examineSigner,
  verifyPlatformSignatures,
  type CrlFacts,
  type DocumentFacts,
  type PlatformFacts,
  type PlatformSignatures,
  type SignedDocument,
  type SignerFacts,
} from "./facts.ts";
import type { Quote } from "./quote.ts";

/** At once where it is known. */
type Fact<T> = T | Promise<T>;

interface KnownPlatform {
  /** Copied: what it was computed from, whole. */
  readonly bytes: Uint8Array;
  readonly facts: Result<PlatformFacts>;
}

interface KnownCrl {
  /** DER of who signed it: not the key alone, for it is judged as an issuer too. */
  readonly issuer: Uint8Array;
  readonly facts: Result<CrlFacts>;
}

export class TdxMemo {
  readonly #crypto: Crypto;
  readonly #maxPlatforms: number;
  /** By the QE report's signature; least recently used first. */
  readonly #platforms = new Map<string, KnownPlatform>();
  readonly #signatures = new WeakMap<PlatformFacts, PlatformSignatures>();
  readonly #tcbInfo = new WeakMap<SignedDocument, Promise<Result<DocumentFacts<TcbInfo>>>>();
  readonly #qeIdentity = new WeakMap<SignedDocument, Promise<Result<DocumentFacts<QeIdentity>>>>();
  #lastSigner: { readonly issuerChain: Uint8Array; readonly facts: Result<SignerFacts> } | undefined;
  readonly #crls = new WeakMap<Uint8Array, KnownCrl>();

  constructor(crypto: Crypto, maxPlatforms = 4096) {
    this.#crypto = crypto;
    this.#maxPlatforms = maxPlatforms;
  }

  platform(quote: Quote): Fact<Result<PlatformFacts>> {
    const name = hex(quote.qeReportSignature);
    const known = this.#platforms.get(name);
    if (known === undefined || !equalBytes(known.bytes, quote.platformBytes))
      return examinePlatform(this.#crypto, quote);
    this.#platforms.delete(name);
    this.#platforms.set(name, known);
    return known.facts;
  }

  /** @param facts as `platform` found them for that quote */
  platformSignatures(quote: Quote, facts: PlatformFacts): Fact<PlatformSignatures> {
    return this.#signatures.get(facts) ?? this.#verifyPlatform(quote, facts);
  }

  async #verifyPlatform(quote: Quote, facts: PlatformFacts): Promise<PlatformSignatures> {
    const signatures = await verifyPlatformSignatures(this.#crypto, quote, facts.chain);
    const { chainProblem, qeReportSigned } = signatures;
    // INVARIANT: only what is signed all the way is kept, so that junk can't push out what is good
    if (chainProblem === undefined && qeReportSigned && facts.attestationKeyBound) {
      const [oldest] = this.#platforms.keys();
      if (oldest !== undefined && this.#platforms.size >= this.#maxPlatforms) this.#platforms.delete(oldest);
      const bytes = new Uint8Array(quote.platformBytes);
      this.#platforms.set(hex(quote.qeReportSignature), { bytes, facts: { ok: true, value: facts } });
      this.#signatures.set(facts, signatures);
    }
    return signatures;
  }

  tcbInfo(document: SignedDocument): Promise<Result<DocumentFacts<TcbInfo>>> {
    return once(this.#tcbInfo, document, () =>
      examineDocument(this.#crypto, document, "tcbInfo", parseTcbInfo, (chain) => this.#signer(chain)),
    );
  }

  qeIdentity(document: SignedDocument): Promise<Result<DocumentFacts<QeIdentity>>> {
    return once(this.#qeIdentity, document, () =>
      examineDocument(this.#crypto, document, "enclaveIdentity", parseQeIdentity, (chain) =>
        this.#signer(chain),
      ),
    );
  }

  /** Both documents come with the same chain, as a rule: the last one is kept. */
  #signer(issuerChain: Uint8Array): Result<SignerFacts> {
    const known = this.#lastSigner;
    if (known !== undefined && equalBytes(known.issuerChain, issuerChain)) return known.facts;
    const facts = examineSigner(this.#crypto, issuerChain);
    this.#lastSigner = { issuerChain, facts };
    return facts;
  }

  crl(der: Uint8Array, issuer: Certificate): Fact<Result<CrlFacts>> {
    const known = this.#crls.get(der);
    return known !== undefined && equalBytes(known.issuer, issuer.der)
      ? known.facts
      : this.#examineCrl(der, issuer);
  }

  async #examineCrl(der: Uint8Array, issuer: Certificate): Promise<Result<CrlFacts>> {
    const facts = await examineCrl(this.#crypto, der, issuer);
    // INVARIANT: as with platforms; the issuer comes with the evidence, and junk must not push out what is good
    if (facts.ok && facts.value.signatureProblem === undefined)
      this.#crls.set(der, { issuer: issuer.der, facts });
    return facts;
  }
}

function once<K extends object, V>(known: WeakMap<K, V>, key: K, compute: () => V): V {
  const before = known.get(key);
  if (before !== undefined) return before;
  const value = compute();
  known.set(key, value);
  return value;
}
