/**
 * A small DER writer for test CAs. Never for production: it writes what it is told, also what is wrong. What it returns is
 * never a Buffer: `slice` of a Buffer copies nothing, and a test's mutant would then change what other tests share.
 */

export type Encoded = Uint8Array;

export function tlv(tag: number, ...contents: readonly Uint8Array[]): Encoded {
  const body = Buffer.concat(contents);
  const { length } = body;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : length < 0x10000
          ? [tag, 0x82, length >> 8, length & 0xff]
          : [tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
  return new Uint8Array(Buffer.concat([Uint8Array.from(header), body]));
}

export const sequence = (...items: readonly Uint8Array[]): Encoded => tlv(0x30, ...items);
export const set = (...items: readonly Uint8Array[]): Encoded => tlv(0x31, ...items);
export const octets = (body: Uint8Array): Encoded => tlv(0x04, body);
export const bitString = (body: Uint8Array, unused = 0): Encoded => tlv(0x03, Uint8Array.of(unused), body);
export const nul = (): Encoded => tlv(0x05);
export const bool = (value: boolean): Encoded => tlv(0x01, Uint8Array.of(value ? 0xff : 0));
export const context = (n: number, ...items: readonly Uint8Array[]): Encoded => tlv(0xa0 | n, ...items);
export const utf8 = (text: string): Encoded => tlv(0x0c, Buffer.from(text));
export const printable = (text: string): Encoded => tlv(0x13, Buffer.from(text));
export const ia5 = (text: string): Encoded => tlv(0x16, Buffer.from(text));

/** A non-negative INTEGER, minimal. */
export function integer(value: number | bigint): Encoded {
  let digits = value.toString(16);
  if (digits.length % 2 === 1) digits = `0${digits}`;
  const bytes = Buffer.from(digits, "hex");
  return tlv(0x02, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), bytes]) : bytes);
}

export function oid(dotted: string): Encoded {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const arcs = [40 * first + second, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift(0x80 | (left & 0x7f));
    return digits;
  });
  return tlv(0x06, Uint8Array.from(arcs));
}

/** UTCTime before 2050, GeneralizedTime from then on. */
export function time(at: Date): Encoded {
  const text = at.toISOString().replace(/[-:T]/g, "").slice(0, 14);
  return at.getUTCFullYear() < 2050
    ? tlv(0x17, Buffer.from(`${text.slice(2)}Z`))
    : tlv(0x18, Buffer.from(`${text}Z`));
}

export function extension(id: string, value: Uint8Array, critical = false): Encoded {
  return sequence(oid(id), ...(critical ? [bool(true)] : []), octets(value));
}
