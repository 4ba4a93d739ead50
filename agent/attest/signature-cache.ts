/**
 * What may be remembered between appraisals: that bytes parse to a certificate, and that a certificate or CRL is rightly
 * signed by a key. Both are facts for ever. Never remembered: time, revocation, TCB, policy, nonces. The caller owns the
 * object and passes it, so that one appraisal never depends on hidden state.
 */
import { equalBytes, hex } from "./bytes.ts";
import { isSignedBy } from "./chain.ts";
import type { Crypto } from "./crypto.ts";
import { attempt, type Result } from "./malformed.ts";
import {
  parseCertificate,
  parseCrl,
  type Certificate,
  type CertificateList,
  type PublicKey,
  type Signed,
} from "./x509.ts";

export interface SignatureCacheOptions {
  /** Parsed certificates and CRLs kept; the least recently used goes first. */
  readonly maxEntries?: number;
}

type Parsed = Certificate | CertificateList;

/** ms since 1970 after which nobody can want it any more. */
function expiry(parsed: Parsed): number {
  return "notAfter" in parsed ? parsed.notAfter : parsed.nextUpdate;
}

export class SignatureCache {
  readonly #maxEntries: number;
  /** By a part of their signature; the least recently used first. */
  readonly #certificates = new Map<number, Certificate>();
  readonly #crls = new Map<number, CertificateList>();
  readonly #fingerprints = new WeakMap<Certificate, string>();
  /** The public keys by which an object is known to be rightly signed. Wrong signatures are not kept. */
  readonly #signers = new WeakMap<Signed, Uint8Array[]>();

  constructor({ maxEntries = 1024 }: SignatureCacheOptions = {}) {
    this.#maxEntries = maxEntries;
  }

  /** The same object for bytes that are kept; others are parsed, and not kept yet. */
  certificate(der: Uint8Array, what: string): Result<Certificate> {
    const known = recall(this.#certificates, der);
    // a copy, so that the caller's buffer may change
    return known === undefined
      ? attempt(() => parseCertificate(new Uint8Array(der), what))
      : { ok: true, value: known };
  }

  crl(der: Uint8Array): Result<CertificateList> {
    const known = recall(this.#crls, der);
    return known === undefined ? attempt(() => parseCrl(new Uint8Array(der))) : { ok: true, value: known };
  }

  /**
   * INVARIANT: called only for what is rightly signed or pinned, so that junk can't push out what is good.
   * @param at the appraisal's time: what has expired is not kept
   */
  keep(parsed: Parsed, at: number): void {
    if ("serial" in parsed) this.#store(this.#certificates, parsed, at);
    else this.#store(this.#crls, parsed, at);
  }

  #store<T extends Parsed>(map: Map<number, T>, parsed: T, at: number): void {
    if (expiry(parsed) < at || map.get(shortName(parsed.der)) === parsed) return;
    for (const [name, kept] of map) {
      if (map.size < this.#maxEntries && expiry(kept) >= at) break;
      map.delete(name);
    }
    map.set(shortName(parsed.der), parsed);
  }

  /** Hex SHA-256 of the certificate's DER. */
  async fingerprint(crypto: Crypto, certificate: Certificate): Promise<string> {
    const known = this.#fingerprints.get(certificate);
    if (known !== undefined) return known;
    const digest = hex(await crypto.digest("sha256", certificate.der));
    this.#fingerprints.set(certificate, digest);
    return digest;
  }

  /** @see isSignedBy; asks the crypto only for what is not known to be right, and keeps what is */
  async isSignedBy(crypto: Crypto, signed: Parsed, key: PublicKey, at: number): Promise<boolean> {
    if (this.knows(signed, key)) return true;
    const right = await isSignedBy(crypto, signed, key);
    if (right) {
      this.#signers.set(signed, [...(this.#signers.get(signed) ?? []).slice(-3), key.spki]);
      this.keep(signed, at);
    }
    return right;
  }

  /** Whether that signature was verified before. */
  knows(signed: Signed, key: PublicKey): boolean {
    return this.#signers.get(signed)?.some((spki) => equalBytes(spki, key.spki)) === true;
  }
}

/** The last 6 bytes lie in the signature: no two that are kept share them but by a rare accident, which costs a parse. */
function shortName(der: Uint8Array): number {
  let name = 0;
  for (let i = Math.max(0, der.length - 6); i < der.length; i++) name = name * 256 + (der[i] ?? 0);
  return name;
}

function recall<T extends Parsed>(map: Map<number, T>, der: Uint8Array): T | undefined {
  const name = shortName(der);
  const known = map.get(name);
  if (known === undefined || !equalBytes(known.der, der)) return undefined;
  map.delete(name);
  map.set(name, known);
  return known;
}
