/**
 * The one way in which a parser of this library says no. Parsers throw `Malformed`, and nothing else; the public
 * functions turn it into a failed predicate or a `Result` with `attempt`, so that hostile bytes never end in an
 * exception at a caller.
 */

/** What is wrong with the bytes. Closed, so that a test can name it. */
export type MalformedCode =
  | "TRUNCATED" // fewer bytes than the format or a length field asks for
  | "TRAILING" // bytes after the end
  | "TOO_LARGE" // over this library's budget (length, depth, number of elements)
  | "ENCODING" // not the one encoding that the format allows (DER, base64, UTF-8, JSON)
  | "UNEXPECTED" // another tag, magic, version or value than the format has there
  | "DUPLICATE" // twice what may be there once
  | "MISSING" // what the format demands is not there
  | "UNSUPPORTED"; // well-formed, and of a kind that is not verified here

/** Thrown by parsers only. `offset` counts from the start of the bytes that `what` names. */
export class Malformed extends Error {
  readonly code: MalformedCode;
  readonly what: string;
  readonly offset: number;
  readonly why: string;

  constructor(code: MalformedCode, what: string, offset: number, why: string) {
    super(`${what}, byte ${offset}: ${why}`);
    this.name = "Malformed";
    this.code = code;
    this.what = what;
    this.offset = offset;
    this.why = why;
  }
}

/** What a caller sees of a `Malformed`: data, without a stack. */
export interface Refusal {
  readonly code: MalformedCode;
  readonly where: { readonly what: string; readonly offset: number };
  readonly why: string;
}

export type Result<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal };

/** Runs a parser; a `Malformed` becomes a refusal. Anything else is a defect of this library and goes on. */
export function attempt<T>(parse: () => T): Result<T> {
  try {
    return { ok: true, value: parse() };
  } catch (thrown) {
    if (!(thrown instanceof Malformed)) throw thrown;
    const { code, what, offset, why } = thrown;
    return { ok: false, refusal: { code, where: { what, offset }, why } };
  }
}

/** One line for people. */
export function describeRefusal(refusal: Refusal): string {
  return `${refusal.code}: ${refusal.where.what}, byte ${refusal.where.offset}: ${refusal.why}`;
}
