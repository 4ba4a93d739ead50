/** Strict base64 (RFC 4648 §4) and PEM (RFC 7468, lax about line ends only), without Node's Buffer. */
import { Malformed } from "./malformed.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUE = new Uint8Array(128).fill(255);
const LINE_ENDS = ["\r", "\n"] as const;
const OTHER_SPACE = ["\t", "\f", " "] as const;
const ANY_SPACE = [...LINE_ENDS, ...OTHER_SPACE];
for (let i = 0; i < 64; i++) VALUE[ALPHABET.charCodeAt(i)] = i;

/**
 * The engine's own way (ES2026), where there is one and it takes the text. It is as strict, but skips white space.
 * @param not white space that must not stand in the text
 */
function native(text: string, not: readonly string[]): Uint8Array<ArrayBuffer> | undefined {
  for (const space of not) if (text.includes(space)) return undefined;
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return undefined;
  }
}

/** @throws Malformed for other characters, missing or wrong padding, or bits set after the last byte */
export function fromBase64(text: string, what = "base64"): Uint8Array<ArrayBuffer> {
  // where the quick way says no, what follows says where
  const quick = native(text, ANY_SPACE);
  if (quick !== undefined) return quick;
  if (text.length % 4 !== 0) throw new Malformed("ENCODING", what, text.length, "length is no multiple of 4");
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const digits = text.length - padding;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let bits = 0;
  let pending = 0;
  let out = 0;
  for (let i = 0; i < digits; i++) {
    const code = text.charCodeAt(i);
    const value = code < 128 ? (VALUE[code] ?? 255) : 255;
    if (value === 255) throw new Malformed("ENCODING", what, i, "not a base64 digit");
    bits = ((bits << 6) | value) & 0xffff;
    pending += 6;
    if (pending >= 8) {
      pending -= 8;
      bytes[out++] = (bits >> pending) & 0xff;
    }
  }
  if ((bits & ((1 << pending) - 1)) !== 0)
    throw new Malformed("ENCODING", what, digits - 1, "bits are set after the last byte");
  return bytes;
}

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b, c] = bytes.subarray(i, i + 3);
    text += ALPHABET.charAt(a >> 2) + ALPHABET.charAt(((a & 3) << 4) | ((b ?? 0) >> 4));
    text += b === undefined ? "=" : ALPHABET.charAt(((b & 15) << 2) | ((c ?? 0) >> 6));
    text += c === undefined ? "=" : ALPHABET.charAt(c & 63);
  }
  return text;
}

export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array<ArrayBuffer>;
}

const MAX_PEM_LENGTH = 128 * 1024;
const BEGIN = /-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n/y;

/**
 * Splits PEM text. Only white space (and zero bytes at the very end, as Intel's quotes have) may stand around blocks.
 * @param maxBlocks more are refused
 */
export function splitPem(text: string, what: string, maxBlocks = 8): PemBlock[] {
  if (text.length > MAX_PEM_LENGTH) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_PEM_LENGTH} bytes`);
  const blocks: PemBlock[] = [];
  let at = skipSpace(text, 0);
  while (at < text.length && text.charCodeAt(at) !== 0) {
    if (blocks.length === maxBlocks)
      throw new Malformed("TOO_LARGE", what, at, `over ${maxBlocks} PEM blocks`);
    BEGIN.lastIndex = at;
    const label = BEGIN.exec(text)?.[1];
    if (label === undefined) throw new Malformed("ENCODING", what, at, "not the beginning of a PEM block");
    const from = BEGIN.lastIndex;
    const end = `-----END ${label}-----`;
    const to = text.indexOf(end, from);
    if (to < 0) throw new Malformed("TRUNCATED", what, at, `no "${end}"`);
    blocks.push({ label, der: withLineEnds(text.slice(from, to), what) });
    at = skipSpace(text, to + end.length);
  }
  for (; at < text.length; at++)
    if (text.charCodeAt(at) !== 0) throw new Malformed("TRAILING", what, at, "text after a zero byte");
  return blocks;
}

function withLineEnds(text: string, what: string): Uint8Array<ArrayBuffer> {
  return native(text, OTHER_SPACE) ?? fromBase64(text.replace(/[\r\n]+/g, ""), what);
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\r\n".includes(text.charAt(at))) at++;
  return at;
}
