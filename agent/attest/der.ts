/**
 * A reader for DER (X.690 §8, §10): definite minimal lengths, single-byte tags, no trailing bytes, budgets for depth and
 * number of elements. It never builds a tree: the caller says what it expects next.
 */
import { byteAt, standsAt } from "./bytes.ts";
import { utc } from "./calendar.ts";
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
    const { bytes, end } = this;
    const start = this.#at;
    if (this.#budget.elements-- === 0) this.fail("TOO_LARGE", `over ${MAX_ELEMENTS} elements`);
    const found = this.peek();
    if (found === undefined) this.fail("TRUNCATED", `${field} is missing`);
    if (found !== tag)
      this.fail("UNEXPECTED", `${field}: tag 0x${tag.toString(16)} expected, 0x${found.toString(16)} found`);
    if (start + 1 >= end) this.fail("TRUNCATED", `${field}: no length`);
    let at = start + 2;
    let length = byteAt(bytes, start + 1);
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0) this.fail("ENCODING", `${field}: indefinite length`);
      if (count > 3) this.fail("TOO_LARGE", `${field}: length of ${count} bytes`);
      if (at + count > end) this.fail("TRUNCATED", `${field}: length is cut`);
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + byteAt(bytes, at++);
      if (length < 0x80 || length < 2 ** (8 * (count - 1)))
        this.fail("ENCODING", `${field}: length is not minimal`);
    }
    if (length > end - at) this.fail("TRUNCATED", `${field}: ${length} bytes declared, ${end - at} are left`);
    this.#at = at + length;
    return at;
  }

  /** Contents of the next element, as a view. */
  primitive(tag: number, field: string): Uint8Array {
    const body = this.#element(tag, field);
    return this.bytes.subarray(body, this.#at);
  }

  /** Past the next element, whatever it holds. */
  skip(tag: number, field: string): void {
    this.#element(tag, field);
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
    const start = this.#at;
    const body = this.#element(TAG.oid, field);
    return oidText(this.bytes, body, this.#at, this.what, start);
  }

  /** A two's complement INTEGER's contents, minimal. */
  integer(field: string): Uint8Array {
    const body = this.integerStart(field);
    return this.bytes.subarray(body, this.#at);
  }

  /** Past a minimal INTEGER. @returns where its contents begin; they end at `offset` */
  integerStart(field: string): number {
    const start = this.#at;
    const body = this.#element(TAG.integer, field);
    const size = this.#at - body;
    if (size === 0) throw new Malformed("ENCODING", this.what, start, `${field}: empty integer`);
    const first = byteAt(this.bytes, body);
    const second = byteAt(this.bytes, body + 1);
    if (size > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
      throw new Malformed("ENCODING", this.what, start, `${field}: integer is not minimal`);
    return body;
  }

  /** A non-negative INTEGER below 2^31. */
  small(field: string): number {
    const start = this.#at;
    const body = this.integerStart(field);
    if (byteAt(this.bytes, body) >= 0x80)
      throw new Malformed("UNEXPECTED", this.what, start, `${field}: negative`);
    if (this.#at - body > 4) throw new Malformed("TOO_LARGE", this.what, start, `${field}: over 31 bits`);
    let value = 0;
    for (let at = body; at < this.#at; at++) value = value * 256 + byteAt(this.bytes, at);
    return value;
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
    const start = this.#at;
    const general = this.peek() === TAG.generalizedTime;
    const body = this.#element(general ? TAG.generalizedTime : TAG.utcTime, field);
    const { bytes } = this;
    const digits = general ? 14 : 12;
    let plain = this.#at - body === digits + 1 && bytes[body + digits] === 0x5a;
    for (let at = body; plain && at < body + digits; at++) plain = isDigit(byteAt(bytes, at));
    const first = twoDigits(bytes, body);
    const year = general ? 100 * first + twoDigits(bytes, body + 2) : (first < 50 ? 2000 : 1900) + first;
    // from the month on both are alike
    const at = body + digits - 10;
    const ms =
      plain && year >= 1950
        ? utc(
            year,
            twoDigits(bytes, at),
            twoDigits(bytes, at + 2),
            twoDigits(bytes, at + 4),
            twoDigits(bytes, at + 6),
            twoDigits(bytes, at + 8),
          )
        : undefined;
    if (ms === undefined)
      throw new Malformed(
        "ENCODING",
        this.what,
        start,
        `${field}: no time of the form ${general ? "YYYY" : "YY"}MMDDHHMMSSZ`,
      );
    return ms;
  }

  /** INVARIANT: every reader that was opened is closed with this, so that nothing unread hides in it. */
  close(field: string): void {
    if (!this.empty) this.fail("TRAILING", `${this.end - this.#at} bytes after ${field}`);
  }

  fail(code: Malformed["code"], why: string): never {
    throw new Malformed(code, this.what, this.#at, why);
  }
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

const twoDigits = (bytes: Uint8Array, at: number): number =>
  10 * (byteAt(bytes, at) - 0x30) + byteAt(bytes, at + 1) - 0x30;

/** Texts of object identifiers by a hash of their bytes: certificates have the same few over and over. */
const OID_TEXTS = new Map<number, { readonly body: Uint8Array; readonly text: string }>();
const MAX_OID_TEXTS = 256;

/** Dotted text of the OBJECT IDENTIFIER whose contents are at [from, to). */
function oidText(bytes: Uint8Array, from: number, to: number, what: string, offset: number): string {
  let hash = to - from;
  for (let at = from; at < to; at++) hash = (Math.imul(hash, 31) + byteAt(bytes, at)) | 0;
  const known = OID_TEXTS.get(hash);
  if (known?.body.length === to - from && standsAt(bytes, from, known.body)) return known.text;
  const body = new Uint8Array(bytes.subarray(from, to));
  const text = readOid(body, what, offset);
  if (known === undefined && OID_TEXTS.size < MAX_OID_TEXTS) OID_TEXTS.set(hash, { body, text });
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
