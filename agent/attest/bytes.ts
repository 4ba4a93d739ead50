/**
 * Bounds-checked reading of byte formats: a sequential reader for formats with lengths in them, and fixed structures
 * as tables. Never reads past the end, never copies without need, never guesses.
 */
import { Malformed } from "./malformed.ts";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Where the runtime has it (ES2026), ten times faster. */
const hasNative = "toHex" in Uint8Array.prototype;

export function hex(bytes: Uint8Array): string {
  if (hasNative) return bytes.toHex();
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

const NO_DIGIT = 0xff;
/** By the character's code. */
const DIGIT = new Uint8Array(128).fill(NO_DIGIT);
for (const digits of ["0123456789abcdef", "0123456789ABCDEF"])
  for (let value = 0; value < 16; value++) DIGIT[digits.charCodeAt(value)] = value;

const digitAt = (text: string, at: number): number => DIGIT[text.charCodeAt(at)] ?? NO_DIGIT;

/** @throws Malformed for anything but an even number of hex digits */
export function fromHex(text: string, what = "hex"): Uint8Array<ArrayBuffer> {
  // the engine's own is slower here: what it makes of a few bytes lies outside of the heap
  const bytes = new Uint8Array(text.length >> 1);
  let wrong = text.length & 1;
  for (let i = 0; i < bytes.length; i++) {
    const high = digitAt(text, 2 * i);
    const low = digitAt(text, 2 * i + 1);
    wrong |= (high | low) >> 4;
    bytes[i] = (high << 4) | low;
  }
  if (wrong !== 0) throw new Malformed("ENCODING", what, 0, "not an even number of hex digits");
  return bytes;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  const { length } = a;
  if (length !== b.length) return false;
  let i = 0;
  if (length >= 128) {
    // certificates and chains are compared often: sixteen bytes at a time
    const left = new DataView(a.buffer, a.byteOffset, length);
    const right = new DataView(b.buffer, b.byteOffset, length);
    for (; i + 16 <= length; i += 16) {
      const differ =
        (left.getInt32(i, true) ^ right.getInt32(i, true)) |
        (left.getInt32(i + 4, true) ^ right.getInt32(i + 4, true)) |
        (left.getInt32(i + 8, true) ^ right.getInt32(i + 8, true)) |
        (left.getInt32(i + 12, true) ^ right.getInt32(i + 12, true));
      if (differ !== 0) return false;
    }
  }
  for (; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether the bytes from there on begin with those of a part. */
export function standsAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}

export function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 without replacement characters. */
export function utf8(bytes: Uint8Array, what: string): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new Malformed("ENCODING", what, 0, "not UTF-8");
  }
}

/** For who has checked that it is there. */
export function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

// views for numbers (DataView) cost more to make than these take

function u16le(bytes: Uint8Array, at: number): number {
  return byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8);
}

function u32le(bytes: Uint8Array, at: number): number {
  return (u16le(bytes, at) | (u16le(bytes, at + 2) << 16)) >>> 0;
}

function u16be(bytes: Uint8Array, at: number): number {
  return (byteAt(bytes, at) << 8) | byteAt(bytes, at + 1);
}

function u32be(bytes: Uint8Array, at: number): number {
  return ((u16be(bytes, at) << 16) | u16be(bytes, at + 2)) >>> 0;
}

function u64le(bytes: Uint8Array, at: number): bigint {
  return (BigInt(u32le(bytes, at + 4)) << 32n) | BigInt(u32le(bytes, at));
}

/** Reads front to back; each read names what it is after, and a short buffer is refused with that name. */
export class Reader {
  readonly what: string;
  readonly bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.what = what;
    this.bytes = bytes;
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.bytes.length - this.#at;
  }

  #advance(size: number, field: string): number {
    if (size > this.remaining)
      throw new Malformed(
        "TRUNCATED",
        this.what,
        this.#at,
        `${field} needs ${size} bytes, ${this.remaining} are left`,
      );
    const at = this.#at;
    this.#at += size;
    return at;
  }

  u8(field: string): number {
    return byteAt(this.bytes, this.#advance(1, field));
  }
  u16le(field: string): number {
    return u16le(this.bytes, this.#advance(2, field));
  }
  u16be(field: string): number {
    return u16be(this.bytes, this.#advance(2, field));
  }
  u32le(field: string): number {
    return u32le(this.bytes, this.#advance(4, field));
  }
  u32be(field: string): number {
    return u32be(this.bytes, this.#advance(4, field));
  }
  u64le(field: string): bigint {
    return u64le(this.bytes, this.#advance(8, field));
  }
  u64be(field: string): bigint {
    const at = this.#advance(8, field);
    return (BigInt(u32be(this.bytes, at)) << 32n) | BigInt(u32be(this.bytes, at + 4));
  }

  /** A view, not a copy. */
  take(size: number, field: string): Uint8Array {
    const at = this.#advance(size, field);
    return this.bytes.subarray(at, at + size);
  }

  /** What is left, as a view; the reader is at its end then. */
  rest(): Uint8Array {
    return this.take(this.remaining, "rest");
  }

  /** A reader of its own over the next `size` bytes: what is nested can't read past its own length. */
  nested(size: number, what: string): Reader {
    return new Reader(this.take(size, what), what);
  }

  end(): void {
    if (this.remaining !== 0)
      throw new Malformed("TRAILING", this.what, this.#at, `${this.remaining} bytes after the end`);
  }

  fail(code: Malformed["code"], why: string): never {
    throw new Malformed(code, this.what, this.#at, why);
  }
}

/** `zero`: reserved, must be zero. Integers are little-endian. */
type Kind = "u8" | "u16" | "u32" | "u64" | "bytes" | "zero";
export type Row = readonly [name: string, offset: number, size: number, kind: Kind];

interface KindType {
  u8: number;
  u16: number;
  u32: number;
  u64: bigint;
  bytes: Uint8Array;
  zero: never;
}

export type Decoded<Rows extends readonly Row[]> = {
  readonly [R in Rows[number] as R[3] extends "zero" ? never : R[0]]: KindType[R[3]];
};

export interface Structure<Rows extends readonly Row[]> {
  readonly name: string;
  readonly size: number;
  readonly rows: Rows;
  /** @throws Malformed unless `bytes` has the structure's size. Reserved rows are not looked at: see `reserved`. */
  decode(bytes: Uint8Array): Decoded<Rows>;
  /** The first reserved byte that is not zero. */
  reserved(bytes: Uint8Array): { readonly name: string; readonly offset: number } | undefined;
}

const INTEGER_SIZE: Readonly<Partial<Record<Kind, number>>> = { u8: 1, u16: 2, u32: 4, u64: 8 };

/** Why the rows don't tile `size` bytes, or undefined. Exported for the test that asks it of every table. */
export function tileProblem(size: number, rows: readonly Row[]): string | undefined {
  let at = 0;
  for (const [name, offset, length, kind] of rows) {
    if (offset !== at) return `${name} is at ${offset}, the row before ends at ${at}`;
    if ((INTEGER_SIZE[kind] ?? length) !== length) return `${name} is a ${kind} of ${length} bytes`;
    at += length;
  }
  return at === size ? undefined : `the rows end at ${at}, the structure at ${size}`;
}

/** A fixed structure from its table. Throws at module load where the rows do not tile it exactly. */
export function structure<const Rows extends readonly Row[]>(
  name: string,
  size: number,
  rows: Rows,
): Structure<Rows> {
  const problem = tileProblem(size, rows);
  if (problem !== undefined) throw new Error(`${name}: ${problem}`);
  return {
    name,
    size,
    rows,
    decode(bytes) {
      if (bytes.length < size)
        throw new Malformed("TRUNCATED", name, bytes.length, `${size} bytes are needed`);
      if (bytes.length > size) throw new Malformed("TRAILING", name, size, `${bytes.length - size} too many`);
      const fields: Record<string, number | bigint | Uint8Array> = {};
      for (const [field, offset, length, kind] of rows) {
        if (kind === "bytes") fields[field] = bytes.subarray(offset, offset + length);
        else if (kind === "u8") fields[field] = byteAt(bytes, offset);
        else if (kind === "u16") fields[field] = u16le(bytes, offset);
        else if (kind === "u32") fields[field] = u32le(bytes, offset);
        else if (kind === "u64") fields[field] = u64le(bytes, offset);
      }
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the loop above is what the type says
      return fields as Decoded<Rows>;
    },
    reserved(bytes) {
      for (const [field, offset, length, kind] of rows) {
        if (kind !== "zero") continue;
        for (let i = offset; i < offset + length; i++) if (bytes[i] !== 0) return { name: field, offset: i };
      }
      return undefined;
    },
  };
}
