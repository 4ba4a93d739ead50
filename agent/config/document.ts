/**
 * Reads a configuration document against a schema: too long, not UTF-8, not JSON, unknown keys and wrong values are all
 * refused, and every problem is reported at once with its path.
 */
import type { ZodType, core } from "zod";
import { type Code, SealetError } from "../error.ts";

export interface DocumentKind {
  /** For the message: "initdata's sealet.json". */
  readonly what: string;
  readonly code: Code;
  readonly maxBytes: number;
}

export function parseDocument<T>(schema: ZodType<T>, bytes: Uint8Array, kind: DocumentKind): T {
  let value: unknown;
  try {
    value = JSON.parse(decodeText(bytes, kind));
  } catch (cause) {
    if (cause instanceof SealetError) throw cause;
    throw new SealetError(kind.code, `${kind.what} is not JSON`, { cause });
  }
  return checkDocument(schema, value, kind);
}

export function checkDocument<T>(schema: ZodType<T>, value: unknown, { what, code }: DocumentKind): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new SealetError(code, `${what}: ${parsed.error.issues.map(problem).join("; ")}`);
}

export function decodeText(bytes: Uint8Array, { what, code, maxBytes }: DocumentKind): string {
  if (bytes.length > maxBytes)
    throw new SealetError(code, `${what} is too long`, {
      expected: `at most ${maxBytes} bytes`,
      found: `${bytes.length} bytes`,
    });
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SealetError(code, `${what} is not UTF-8`, { cause });
  }
}

function problem({ path, message }: core.$ZodIssue): string {
  const at = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  return `${at === "" ? "." : at}: ${message}`;
}
