/** Reads the genuine artefacts of `test/vectors` (see its INDEX.md). */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "vectors");

export function vector(path: string): Uint8Array {
  return new Uint8Array(readFileSync(join(ROOT, path)));
}

export function vectorText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}
