/** Distinguished names (RFC 5280 §4.1.2.4): compared as bytes, shown as text. */
import { type Der, TAG } from "../der.ts";

const COMMON_NAME = "2.5.4.3";

export interface Name {
  /** The DER of the whole Name: names are equal where these bytes are. */
  readonly der: Uint8Array;
  readonly attributes: readonly { readonly oid: string; readonly value: string }[];
}

export function readName(from: Der, field: string): Name {
  const start = from.offset;
  const rdns = from.sequence(field);
  const der = from.bytes.subarray(start, from.offset);
  const attributes: { oid: string; value: string }[] = [];
  while (!rdns.empty) {
    const set = rdns.enter(TAG.set, field);
    do {
      const attribute = set.sequence(field);
      const oid = attribute.oid(field);
      const tag = attribute.peek() ?? 0;
      attributes.push({ oid, value: printable(attribute.primitive(tag, field)) });
      attribute.close(field);
    } while (!set.empty);
  }
  return { der, attributes };
}

/** ASCII as it is; every other byte as \xNN, so that two names that look alike are alike. */
export function printable(bytes: Uint8Array): string {
  let ascii = true;
  for (const byte of bytes) if (byte < 0x20 || byte > 0x7e) ascii = false;
  if (ascii && bytes.length <= 128) return String.fromCharCode(...bytes);
  let text = "";
  for (const byte of bytes)
    text +=
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  return text;
}

/** The common name, where there is exactly one. */
export function commonName(name: Name): string | undefined {
  const found = name.attributes.filter(({ oid }) => oid === COMMON_NAME);
  return found.length === 1 ? found[0]?.value : undefined;
}
