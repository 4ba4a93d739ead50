/**
 * The envelope of Intel's signed JSON: `{"<name>":{...},"signature":"<128 hex digits>"}`. The signature is over the
 * object's bytes exactly as they stand, so they are cut out, never parsed and written again.
 *
 * @see Intel PCS API v4, "Get TCB Info": signature calculated over the body without white space and indentation
 */
import { fromHex, utf8 } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

/** TCB info has 3 to 20 KB. */
const MAX_SIZE = 256 * 1024;

export interface SignedJson {
  /** The object's exact bytes. */
  readonly body: Uint8Array;
  /** r and s, 64 bytes. */
  readonly signature: Uint8Array;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** @throws Malformed */
export function cutSignedJson(bytes: Uint8Array, name: string): SignedJson {
  if (bytes.length > MAX_SIZE) throw new Malformed("TOO_LARGE", name, 0, `over ${MAX_SIZE} bytes`);
  let at = 0;
  const expect = (text: string): void => {
    at = skipSpace(bytes, at);
    for (let i = 0; i < text.length; i++, at++)
      if (bytes[at] !== text.charCodeAt(i))
        throw new Malformed(at < bytes.length ? "UNEXPECTED" : "TRUNCATED", name, at, `${text} expected`);
  };
  expect("{");
  expect(`"${name}"`);
  expect(":");
  at = skipSpace(bytes, at);
  const from = at;
  at = objectEnd(bytes, at, name);
  const body = bytes.subarray(from, at);
  expect(",");
  expect('"signature"');
  expect(":");
  expect('"');
  const hex = bytes.subarray(at, at + 128);
  at += 128;
  expect('"');
  expect("}");
  at = skipSpace(bytes, at);
  if (at !== bytes.length) throw new Malformed("TRAILING", name, at, "bytes after the envelope");
  return { body, signature: fromHex(utf8(hex, name), `${name}'s signature`) };
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  return at;
}

/** Past the brace that closes the object at `from`; braces in strings don't count. */
function objectEnd(bytes: Uint8Array, from: number, name: string): number {
  if (bytes[from] !== OPEN) throw new Malformed("UNEXPECTED", name, from, "no object");
  let depth = 0;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = stringEnd(bytes, at);
    else if (byte === OPEN) depth++;
    else if (byte === CLOSE && --depth === 0) return at + 1;
  }
  throw new Malformed("TRUNCATED", name, bytes.length, "the object has no end");
}

/** Where the string that begins at `from` has its closing quote, or past the end. */
function stringEnd(bytes: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return at;
}
