/** Certificate revocation lists (RFC 5280 §5): complete ones, with an end. */
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
  readonly revoked: readonly { readonly serial: Uint8Array; readonly at: number }[];
  readonly extensions: ReadonlyMap<string, Extension>;
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
  const revoked: { serial: Uint8Array; at: number }[] = [];
  if (body.peek() === TAG.sequence) {
    const entries = body.sequence("revokedCertificates");
    while (!entries.empty) {
      const entry = entries.sequence("revokedCertificate");
      const serial = entry.integer("userCertificate");
      const at = entry.time("revocationDate");
      // reasons don't matter: what is listed is revoked (removeFromCRL occurs in delta CRLs only, which are refused)
      if (!entry.empty) entry.raw(TAG.sequence, "crlEntryExtensions");
      entry.close("crlEntryExtensions");
      revoked.push({ serial, at });
    }
  }
  const extensions = readExtensions(body, explicit(0));
  body.close("crlExtensions");
  for (const { oid, critical } of extensions.values())
    if (critical) throw new Malformed("UNSUPPORTED", what, 0, `critical CRL extension ${oid}`);
  return { der, tbs, signatureAlgorithm, signature, issuer, thisUpdate, nextUpdate, revoked, extensions };
}
