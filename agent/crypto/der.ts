/** Writes DER (X.690): as much of it as certificates and their requests need. Reading is `attest/der.ts`. */

/** @param contents of the value, already encoded */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  const { length } = body;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  if (length >= 0x10000) throw new RangeError("No value here is that long");
  return Buffer.concat([Uint8Array.from(header), body]);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => tlv(0x30, ...items);
export const set = (...items: readonly Uint8Array[]): Buffer => tlv(0x31, ...items);
export const octetString = (body: Uint8Array): Buffer => tlv(0x04, body);
export const bitString = (body: Uint8Array, unused = 0): Buffer => tlv(0x03, Uint8Array.of(unused), body);
export const boolean = (value: boolean): Buffer => tlv(0x01, Uint8Array.of(value ? 0xff : 0));
export const utf8String = (text: string): Buffer => tlv(0x0c, Buffer.from(text));
/** A context tag around a value, EXPLICIT. */
export const explicit = (n: number, ...items: readonly Uint8Array[]): Buffer => tlv(0xa0 | n, ...items);
/** A context tag in the place of a primitive's own, IMPLICIT. */
export const implicit = (n: number, body: Uint8Array): Buffer => tlv(0x80 | n, body);

/** @param value big-endian and not negative */
export function integer(value: Uint8Array): Buffer {
  const first = value.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Uint8Array.of(0) : value.subarray(first);
  return tlv(0x02, ...((digits[0] ?? 0) >= 0x80 ? [Uint8Array.of(0)] : []), digits);
}

export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const arcs = [40 * first + second, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      digits.unshift(0x80 | (left & 0x7f));
    }
    return digits;
  });
  return tlv(0x06, Uint8Array.from(arcs));
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(at: Date): Buffer {
  const text = `${at.toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;
  return at.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text));
}
