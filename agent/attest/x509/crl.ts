/** Certificate revocation lists (RFC 5280 §5): complete ones, with an end. */
import { standsAt } from "../bytes.ts";
import { explicit, TAG } from "../der.ts";
import { Malformed } from "../malformed.ts";
import { readExtensions, type Extension } from "./extensions.ts";
import { readName } from "./name.ts";
import { sameAlgorithm, signedEnvelope, type Signed } from "./signed.ts";

const MAX_CRL = 1024 * 1024;

export interface CertificateList extends Signed {
  readonly der: Uint8Array;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly revoked: Revoked;
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** What a CRL lists. A list may have thousands of entries, of which one is asked for: only their places are kept. */
class Revoked {
  readonly #bytes: Uint8Array;
  /** Of each entry: where its serial number begins and ends, and its date. */
  readonly #entries: number[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#entries.length / 3;
  }

  add(from: number, to: number, at: number): void {
    this.#entries.push(from, to, at);
  }

  has(serial: Uint8Array): boolean {
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i += 3) {
      const from = entries[i] ?? 0;
      if (entries[i + 1] === from + serial.length && standsAt(this.#bytes, from, serial)) return true;
    }
    return false;
  }

  *[Symbol.iterator](): Generator<{ readonly serial: Uint8Array; readonly at: number }> {
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i += 3)
      yield { serial: this.#bytes.subarray(entries[i], entries[i + 1]), at: entries[i + 2] ?? 0 };
  }
}

/** @throws Malformed; a CRL without nextUpdate too: it would never be stale */
export function parseCrl(der: Uint8Array, what = "CRL"): CertificateList {
  if (der.length > MAX_CRL) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_CRL} bytes`);
  const { tbs, body, signatureAlgorithm, signature } = signedEnvelope(der, what);
  if (body.small("version") !== 1) body.fail("UNEXPECTED", "not an X.509 v2 CRL");
  sameAlgorithm(body, signatureAlgorithm);
  const issuer = readName(body, "issuer");
  const thisUpdate = body.time("thisUpdate");
  const nextUpdate = body.time("nextUpdate");
  const revoked = new Revoked(der);
  if (body.peek() === TAG.sequence) {
    const entries = body.sequence("revokedCertificates");
    while (!entries.empty) {
      const entry = entries.sequence("revokedCertificate");
      const from = entry.integerStart("userCertificate");
      const to = entry.offset;
      revoked.add(from, to, entry.time("revocationDate"));
      // reasons don't matter: what is listed is revoked (removeFromCRL occurs in delta CRLs only, which are refused)
      if (!entry.empty) entry.skip(TAG.sequence, "crlEntryExtensions");
      entry.close("crlEntryExtensions");
    }
  }
  const extensions = readExtensions(body, explicit(0));
  body.close("crlExtensions");
  for (const { oid, critical } of extensions.values())
    if (critical) throw new Malformed("UNSUPPORTED", what, 0, `critical CRL extension ${oid}`);
  return { der, tbs, signatureAlgorithm, signature, issuer, thisUpdate, nextUpdate, revoked, extensions };
}
