/** Certificates (RFC 5280 §4.1). Parsing decides nothing about trust: that is `chain.ts`'s. */
import { splitPem } from "../base64.ts";
import { hex } from "../bytes.ts";
import { explicit } from "../der.ts";
import { Malformed } from "../malformed.ts";
import { readExtensions, type Extension } from "./extensions.ts";
import { readName, type Name } from "./name.ts";
import { readPublicKey, type PublicKey } from "./public-key.ts";
import { sameAlgorithm, signedEnvelope, type Signed } from "./signed.ts";

const MAX_CERTIFICATE = 16 * 1024;

export interface Certificate extends Signed {
  readonly der: Uint8Array;
  /** Contents of the INTEGER. */
  readonly serial: Uint8Array;
  readonly subject: Name;
  /** ms since 1970 */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: PublicKey;
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** @throws Malformed */
export function parseCertificate(der: Uint8Array, what = "certificate"): Certificate {
  if (der.length > MAX_CERTIFICATE)
    throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_CERTIFICATE} bytes`);
  const { tbs, body, signatureAlgorithm, signature } = signedEnvelope(der, what);
  const version = body.enter(explicit(0), "version");
  if (version.small("version") !== 2) body.fail("UNEXPECTED", "not an X.509 v3 certificate");
  version.close("version");
  const serial = body.integer("serialNumber");
  sameAlgorithm(body, signatureAlgorithm);
  const issuer = readName(body, "issuer");
  const validity = body.sequence("validity");
  const notBefore = validity.time("notBefore");
  const notAfter = validity.time("notAfter");
  validity.close("validity");
  const subject = readName(body, "subject");
  const publicKey = readPublicKey(body);
  const extensions = readExtensions(body, explicit(3));
  body.close("extensions");
  return {
    der,
    tbs,
    signatureAlgorithm,
    signature,
    serial,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    extensions,
  };
}

/** Certificates of a PEM text, in its order. @throws Malformed */
export function parsePemCertificates(text: string, what = "PEM"): Certificate[] {
  return splitPem(text, what).map(({ label, der }, i) => {
    if (label !== "CERTIFICATE") throw new Malformed("UNEXPECTED", what, 0, `PEM block "${label}"`);
    return parseCertificate(der, `${what} certificate ${i + 1}`);
  });
}

/** Serial numbers as text, for messages. */
export function serialText(serial: Uint8Array): string {
  return hex(serial);
}
