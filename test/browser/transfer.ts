/** Values with bytes, maps and big integers as JSON text, and back: between the tests and a page. Not for hostile text. */
import { fromBase64, toBase64 } from "../../agent/attest/base64.ts";

const KIND = "$kind";

function write(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [KIND]: "bytes", value: toBase64(value) };
  if (value instanceof Map) return { [KIND]: "map", value: [...value].map(write) };
  if (typeof value === "bigint") return { [KIND]: "bigint", value: String(value) };
  if (Array.isArray(value)) return value.map(write);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, write(field)]));
}

function read(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(read);
  if (typeof value !== "object" || value === null) return value;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const { [KIND]: kind, value: inner } = fields;
  if (kind === "bytes") return fromBase64(String(inner));
  if (kind === "bigint") return BigInt(String(inner));
  if (kind === "map" && Array.isArray(inner))
    return new Map(
      inner
        .map(read)
        .map((pair): [unknown, unknown] => (Array.isArray(pair) ? [pair[0], pair[1]] : [pair, pair])),
    );
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, read(field)]));
}

export function pack(value: unknown): string {
  return JSON.stringify(write(value));
}

export function unpack(text: string): unknown {
  return read(JSON.parse(text));
}
