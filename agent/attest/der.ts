/**
 * A reader for DER (X.690 §8, §10): definite minimal lengths, single-byte tags, no trailing bytes, budgets for depth and
 * number of elements. It never builds a tree: the caller says what it expects next.
 */
import { Malformed } from "./malformed.ts";

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Context-specific tags. */
export const explicit = (n: number): number => 0xa0 | n;
export const implicit = (n: number): number => 0x80 | n;

const MAX_DEPTH = 12;
const MAX_ELEMENTS = 100_000;

interface Budget {
  elements: number;
}

/** One range of DER elements, read front to back. Offsets in errors count from the start of the outermost bytes. */
export class Der {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly end: number;
  #at: number;
  readonly #depth: number;
  readonly #budget: Budget;

  /** @param what names the outermost bytes in errors */
  constructor(bytes: Uint8Array, what: string, from = 0, end = bytes.length, depth = 0, budget?: Budget) {
    this.bytes = bytes;
    this.what = what;
    this.end = end;
    this.#at = from;
    this.#depth = depth;
    this.#budget = budget ?? { elements: MAX_ELEMENTS };
  }

  get offset(): number {
    return this.#at;
  }

  get empty(): boolean {
    return this.#at === this.end;
  }

  /** The next element's tag; undefined at the end. */
  peek(): number | undefined {
    return this.#at < this.end ? this.bytes[this.#at] : undefined;
  }

  /** Reads one element's header; afterwards #at is past the whole element. Returns where its contents begin. */
  #element(tag: number, field: string): number {
    const start = this.#at;
    if (this.#budget.elements-- === 0) this.fail("TOO_LARGE", `over ${MAX_ELEMENTS} elements`);
    const found = this.peek();
    if (found === undefined) this.fail("TRUNCATED", `${field} is missing`);
    if (found !== tag)
      this.fail("UNEXPECTED", `${field}: tag 0x${tag.toString(16)} expected, 0x${found.toString(16)} found`);
    const first =
      this.#at + 1 < this.end
        ? (this.bytes[this.#at + 1] ?? 0)
        : this.fail("TRUNCATED", `${field}: no length`);
    let at = this.#at + 2;
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0) this.fail("ENCODING", `${field}: indefinite length`);
      if (count > 3) this.fail("TOO_LARGE", `${field}: length of ${count} bytes`);
      if (at + count > this.end) this.fail("TRUNCATED", `${field}: length is cut`);
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + (this.bytes[at++] ?? 0);
      if (length < 0x80 || length < 2 ** (8 * (count - 1)))
        this.fail("ENCODING", `${field}: length is not minimal`);
    }
    if (length > this.end - at) {
      this.#at = start;
      this.fail("TRUNCATED", `${field}: ${length} bytes declared, ${this.end - at} are left`);
    }
    this.#at = at + length;
    return at;
  }

  /** Contents of the next element, as a view. */
  primitive(tag: number, field: string): Uint8Array {
    const body = this.#element(tag, field);
    return this.bytes.subarray(body, this.#at);
  }

  /** The contents of a constructed element (or of an element whose contents are DER) as a reader of its own. */
  enter(tag: number, field: string): Der {
    const body = this.#element(tag, field);
    return this.#child(body, this.#at, field);
  }

  #child(from: number, end: number, field: string): Der {
    if (this.#depth === MAX_DEPTH) this.fail("TOO_LARGE", `${field}: nested deeper than ${MAX_DEPTH}`);
    return new Der(this.bytes, this.what, from, end, this.#depth + 1, this.#budget);
  }

  sequence(field: string): Der {
    return this.enter(TAG.sequence, field);
  }

  /** The next element whole, header and contents, as a view; its contents are not looked into. */
  raw(tag: number, field: string): Uint8Array {
    const start = this.#at;
    this.#element(tag, field);
    return this.bytes.subarray(start, this.#at);
  }

  oid(field: string): string {
    const at = this.#at;
    return oidText(this.primitive(TAG.oid, field), this.what, at);
  }

  /** A two's complement INTEGER's contents, minimal. */
  integer(field: string): Uint8Array {
    const at = this.#at;
    const value = this.primitive(TAG.integer, field);
    const [first, second = 0] = value;
    if (first === undefined) throw new Malformed("ENCODING", this.what, at, `${field}: empty integer`);
    if (value.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
      throw new Malformed("ENCODING", this.what, at, `${field}: integer is not minimal`);
    return value;
  }

  /** A non-negative INTEGER below 2^31. */
  small(field: string): number {
    const at = this.#at;
    const value = this.integer(field);
    if ((value[0] ?? 0) >= 0x80) throw new Malformed("UNEXPECTED", this.what, at, `${field}: negative`);
    if (value.length > 4) throw new Malformed("TOO_LARGE", this.what, at, `${field}: over 31 bits`);
    return value.reduce((sum, byte) => sum * 256 + byte, 0);
  }

  boolean(field: string): boolean {
    const at = this.#at;
    const value = this.primitive(TAG.boolean, field);
    if (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff))
      throw new Malformed("ENCODING", this.what, at, `${field}: no DER boolean`);
    return value[0] === 0xff;
  }

  /** A BIT STRING of whole bytes. */
  bitString(field: string): Uint8Array {
    const at = this.#at;
    const value = this.primitive(TAG.bitString, field);
    if (value[0] !== 0) throw new Malformed("ENCODING", this.what, at, `${field}: not whole bytes`);
    return value.subarray(1);
  }

  /** A BIT STRING of named bits: bit 0 is the first. */
  namedBits(field: string): (bit: number) => boolean {
    const at = this.#at;
    const value = this.primitive(TAG.bitString, field);
    const unused = value[0] ?? 8;
    const last = value.at(-1) ?? 0;
    // unused bits are zero (X.690 §11.2.1); that trailing zero bits be left away (§11.2.2) AMD's ASKs don't heed
    const sound = value.length === 1 ? unused === 0 : unused < 8 && (last & ((1 << unused) - 1)) === 0;
    if (value.length === 0 || !sound)
      throw new Malformed("ENCODING", this.what, at, `${field}: unused bits are not zero`);
    return (bit) => ((value[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0;
  }

  /** UTCTime or GeneralizedTime in the one form that RFC 5280 §4.1.2.5 allows. @returns ms since 1970 */
  time(field: string): number {
    const at = this.#at;
    const general = this.peek() === TAG.generalizedTime;
    const body = this.primitive(general ? TAG.generalizedTime : TAG.utcTime, field);
    const digits = general ? 14 : 12;
    const two = (i: number): number => 10 * ((body[i] ?? 0) - 0x30) + (body[i + 1] ?? 0) - 0x30;
    let plain = body.length === digits + 1 && body[digits] === 0x5a;
    for (let i = 0; plain && i < digits; i++) plain = (body[i] ?? 0) >= 0x30 && (body[i] ?? 0) <= 0x39;
    const m = digits - 10;
    const year = general ? 100 * two(0) + two(2) : two(0) < 50 ? 2000 + two(0) : 1900 + two(0);
    const [month, day, hour, minute, second] = [
      two(m),
      two(m + 2),
      two(m + 4),
      two(m + 6),
      two(m + 8),
    ] as const;
    const inRange = month >= 1 && month <= 12 && day >= 1 && day <= daysOf(year, month) && hour < 24;
    if (!plain || year < 1950 || !inRange || minute > 59 || second > 59)
      throw new Malformed(
        "ENCODING",
        this.what,
        at,
        `${field}: no time of the form ${general ? "YYYY" : "YY"}MMDDHHMMSSZ`,
      );
    return Date.UTC(year, month - 1, day, hour, minute, second);
  }

  /** INVARIANT: every reader that was opened is closed with this, so that nothing unread hides in it. */
  close(field: string): void {
    if (!this.empty) this.fail("TRAILING", `${this.end - this.#at} bytes after ${field}`);
  }

  fail(code: Malformed["code"], why: string): never {
    throw new Malformed(code, this.what, this.#at, why);
  }
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Texts of short object identifiers: a certificate has the same few over and over. */
const OID_TEXTS = new Map<number, string>();
const MAX_OID_TEXTS = 256;

/** Dotted text of an OBJECT IDENTIFIER's contents. */
export function oidText(body: Uint8Array, what: string, offset: number): string {
  if (body.length > 5) return readOid(body, what, offset);
  let name = body.length;
  for (const byte of body) name = name * 256 + byte;
  const known = OID_TEXTS.get(name);
  if (known !== undefined) return known;
  const text = readOid(body, what, offset);
  if (OID_TEXTS.size < MAX_OID_TEXTS) OID_TEXTS.set(name, text);
  return text;
}

function readOid(body: Uint8Array, what: string, offset: number): string {
  const bad = (why: string): never => {
    throw new Malformed("ENCODING", what, offset, why);
  };
  if (body.length === 0 || body.length > 32) bad(`object identifier of ${body.length} bytes`);
  let text = "";
  let arc = 0;
  let fresh = true;
  for (const byte of body) {
    if (fresh && byte === 0x80) bad("object identifier's arc is not minimal");
    if (arc >= 2 ** 24) bad("object identifier's arc is over 31 bits");
    arc = arc * 128 + (byte & 0x7f);
    fresh = byte < 0x80;
    if (!fresh) continue;
    if (text === "") {
      const root = Math.min(2, Math.floor(arc / 40));
      text = `${root}.${arc - 40 * root}`;
    } else text += `.${arc}`;
    arc = 0;
  }
  if (!fresh) bad("object identifier is cut");
  return text;
}
