/** Distinguished names (RFC 5280 §4.1.2.4): compared as bytes, shown as text. */
import { type Der, TAG } from "../der.ts";

const COMMON_NAME = "2.5.4.3";

export interface Name {
  /** The DER of the whole Name: names are equal where these bytes are. */
  readonly der: Uint8Array;
  /** Values of attributes that are common names. */
  readonly commonNames: readonly Uint8Array[];
}

export function readName(from: Der, field: string): Name {
  const start = from.offset;
  const rdns = from.sequence(field);
  const der = from.bytes.subarray(start, from.offset);
  const commonNames: Uint8Array[] = [];
  while (!rdns.empty) {
    const set = rdns.enter(TAG.set, field);
    do {
      const attribute = set.sequence(field);
      const isCommonName = attribute.oid(field) === COMMON_NAME;
      const tag = attribute.peek() ?? 0;
      if (isCommonName) commonNames.push(attribute.primitive(tag, field));
      else attribute.skip(tag, field);
      attribute.close(field);
    } while (!set.empty);
  }
  return { der, commonNames };
}

/** ASCII as it is; every other byte as \xNN, so that two names that look alike are alike. */
export function printable(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes)
    text +=
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  return text;
}

/** The common name, where there is exactly one. */
export function commonName({ commonNames }: Name): string | undefined {
  const [name, ...more] = commonNames;
  return name === undefined || more.length > 0 ? undefined : printable(name);
}
