/** Extensions of certificates and CRLs (RFC 5280 §4.2, §5.2): none twice, and the meaning of those that count here. */
import { Der, explicit, implicit, TAG } from "../der.ts";
import { Malformed } from "../malformed.ts";
import { printable } from "./name.ts";

const MAX_EXTENSIONS = 40;

export const OID = {
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  authorityKeyIdentifier: "2.5.29.35",
  subjectKeyIdentifier: "2.5.29.14",
  crlDistributionPoints: "2.5.29.31",
  crlNumber: "2.5.29.20",
} as const;

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** Contents of extnValue's OCTET STRING. */
  readonly value: Uint8Array;
}

export function readExtensions(from: Der, tag: number): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (from.empty) return extensions;
  const field = from.enter(tag, "extensions");
  const list = field.sequence("extensions");
  field.close("extensions");
  while (!list.empty) {
    const at = list.offset;
    const entry = list.sequence("extension");
    const oid = entry.oid("extnID");
    const explicitCritical = entry.peek() === TAG.boolean;
    const critical = explicitCritical && entry.boolean("critical");
    if (explicitCritical && !critical) entry.fail("ENCODING", "a default is encoded");
    const value = entry.primitive(TAG.octetString, "extnValue");
    entry.close("extnValue");
    if (extensions.has(oid)) throw new Malformed("DUPLICATE", from.what, at, `extension ${oid} twice`);
    if (extensions.size === MAX_EXTENSIONS)
      throw new Malformed("TOO_LARGE", from.what, at, `over ${MAX_EXTENSIONS} extensions`);
    extensions.set(oid, { oid, critical, value });
  }
  return extensions;
}

interface Extended {
  readonly extensions: ReadonlyMap<string, Extension>;
}

interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

/** @throws Malformed */
export function basicConstraints(certificate: Extended): BasicConstraints | undefined {
  const extension = certificate.extensions.get(OID.basicConstraints);
  if (extension === undefined) return undefined;
  const outer = new Der(extension.value, "basicConstraints");
  const inner = outer.sequence("basicConstraints");
  outer.close("basicConstraints");
  const ca = inner.peek() === TAG.boolean && inner.boolean("cA");
  const pathLength = inner.empty ? undefined : inner.small("pathLenConstraint");
  inner.close("pathLenConstraint");
  return { ca, pathLength };
}

export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

/** @returns a test for a bit, or undefined where the extension is absent. @throws Malformed */
export function keyUsage(certificate: Extended): ((bit: number) => boolean) | undefined {
  const extension = certificate.extensions.get(OID.keyUsage);
  if (extension === undefined) return undefined;
  const outer = new Der(extension.value, "keyUsage");
  const bits = outer.namedBits("keyUsage");
  outer.close("keyUsage");
  return bits;
}

/** URI of each CRL distribution point that is a plain URI; for people and collateral clients, never for trust. */
export function crlUris(certificate: Extended): string[] {
  const extension = certificate.extensions.get(OID.crlDistributionPoints);
  if (extension === undefined) return [];
  const outer = new Der(extension.value, "cRLDistributionPoints");
  const points = outer.sequence("cRLDistributionPoints");
  const uris: string[] = [];
  while (!points.empty) {
    const point = points.sequence("DistributionPoint");
    if (point.peek() !== explicit(0)) continue;
    const name = point.enter(explicit(0), "distributionPoint");
    if (name.peek() !== explicit(0)) continue;
    const full = name.enter(explicit(0), "fullName");
    while (!full.empty) {
      const tag = full.peek() ?? 0;
      const value = full.primitive(tag, "GeneralName");
      if (tag === implicit(6)) uris.push(printable(value));
    }
  }
  return uris;
}
