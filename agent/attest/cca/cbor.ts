/**
 * A reader for the CBOR (RFC 8949) that attestation tokens are made of: integers, byte and text strings, arrays, maps,
 * tags, true, false and null, in preferred serialization and of definite length. Nothing else is accepted, so that bytes
 * have one reading; depth and number of items are bounded. Of the libraries none bounds depth without throwing what is not
 * its own error, and none needs less trust than this page.
 */
import { Reader, utf8 } from "../bytes.ts";

const MAX_DEPTH = 12;
const MAX_ITEMS = 4096;

export type CborMap = ReadonlyMap<number | string, Cbor>;
export type Cbor = number | string | boolean | null | Uint8Array | readonly Cbor[] | CborMap | Tagged;

export interface Tagged {
  readonly tag: number;
  readonly value: Cbor;
}

/** One item that fills the bytes. @throws Malformed */
export function decodeCbor(bytes: Uint8Array, what: string): Cbor {
  const reader = new Reader(bytes, what);
  const budget = { items: MAX_ITEMS };
  const value = readItem(reader, budget, 0);
  reader.end();
  return value;
}

export const isTagged = (value: Cbor | undefined): value is Tagged =>
  typeof value === "object" && value !== null && "tag" in value;
export const isMap = (value: Cbor | undefined): value is CborMap => value instanceof Map;
export const isArray = (value: Cbor | undefined): value is readonly Cbor[] => Array.isArray(value);
export const isBytes = (value: Cbor | undefined): value is Uint8Array => value instanceof Uint8Array;

function readItem(reader: Reader, budget: { items: number }, depth: number): Cbor {
  if (budget.items-- === 0) reader.fail("TOO_LARGE", `over ${MAX_ITEMS} items`);
  if (depth === MAX_DEPTH) reader.fail("TOO_LARGE", `nested deeper than ${MAX_DEPTH}`);
  const initial = reader.u8("initial byte");
  const major = initial >> 5;
  const additional = initial & 0x1f;
  if (major === 7) {
    if (additional === 20) return false;
    if (additional === 21) return true;
    if (additional === 22) return null;
    return reader.fail("UNSUPPORTED", `simple or floating-point value ${additional}`);
  }
  const argument = readArgument(reader, additional);
  switch (major) {
    case 0:
      return argument;
    case 1:
      return -1 - argument;
    case 2:
      return reader.take(argument, "byte string");
    case 3:
      return utf8(reader.take(argument, "text string"), reader.what);
    case 4:
      return readArray(reader, budget, depth, argument);
    case 5:
      return readMap(reader, budget, depth, argument);
    default:
      return { tag: argument, value: readItem(reader, budget, depth + 1) };
  }
}

/** RFC 8949 §4.2.1: the shortest form only. */
function readArgument(reader: Reader, additional: number): number {
  if (additional < 24) return additional;
  if (additional > 27) return reader.fail("ENCODING", "indefinite length, or a reserved one");
  const size = additional - 24;
  const read = [
    () => reader.u8("argument"),
    () => reader.u16be("argument"),
    () => reader.u32be("argument"),
    () => Number(reader.u64be("argument")),
  ] as const;
  const value = read[size]?.() ?? 0;
  const least = [24, 0x100, 0x10000, 0x100000000][size] ?? 0;
  if (value < least) reader.fail("ENCODING", "argument is not in its shortest form");
  if (!Number.isSafeInteger(value)) reader.fail("TOO_LARGE", "argument over 53 bits");
  return value;
}

function readArray(reader: Reader, budget: { items: number }, depth: number, count: number): Cbor[] {
  if (count > reader.remaining) reader.fail("TRUNCATED", `${count} items in ${reader.remaining} bytes`);
  const items: Cbor[] = [];
  for (let i = 0; i < count; i++) items.push(readItem(reader, budget, depth + 1));
  return items;
}

function readMap(reader: Reader, budget: { items: number }, depth: number, count: number): CborMap {
  if (2 * count > reader.remaining) reader.fail("TRUNCATED", `${count} pairs in ${reader.remaining} bytes`);
  const map = new Map<number | string, Cbor>();
  for (let i = 0; i < count; i++) {
    const key = readItem(reader, budget, depth + 1);
    if (typeof key !== "number" && typeof key !== "string")
      return reader.fail("UNSUPPORTED", "a key that is neither integer nor text");
    if (map.has(key)) reader.fail("DUPLICATE", `key ${key} twice`);
    map.set(key, readItem(reader, budget, depth + 1));
  }
  return map;
}

/** The head of an item, for what is signed. */
function head(major: number, argument: number): number[] {
  if (argument < 24) return [(major << 5) | argument];
  if (argument < 0x100) return [(major << 5) | 24, argument];
  if (argument < 0x10000) return [(major << 5) | 25, argument >> 8, argument & 0xff];
  return [
    (major << 5) | 26,
    argument >>> 24,
    (argument >> 16) & 0xff,
    (argument >> 8) & 0xff,
    argument & 0xff,
  ];
}

/** COSE's Sig_structure for one signer, without external data (RFC 9052 §4.4). */
export function sigStructure(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  const context = new TextEncoder().encode("Signature1");
  const parts = [
    Uint8Array.from([...head(4, 4), ...head(3, context.length)]),
    context,
    Uint8Array.from(head(2, protectedHeader.length)),
    protectedHeader,
    Uint8Array.from([...head(2, 0), ...head(2, payload.length)]),
    payload,
  ];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
