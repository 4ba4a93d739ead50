/** Files that are there whole or not at all, also after a power cut. */
import { mkdirSync, openSync, closeSync, fsyncSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf } from "./error.ts";

/** @returns whether it had to be written: what is there already with the same bytes is left alone */
export function writeAtomically(path: string, contents: string | Uint8Array, mode = 0o600): boolean {
  // no copy of bytes, which may be secret
  const bytes = typeof contents === "string" ? Buffer.from(contents) : contents;
  if (readIfThere(path)?.equals(bytes) === true) return false;
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const next = `${path}.next`;
  const file = openSync(next, "w", mode);
  try {
    writeFileSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(next, path);
  syncFolder(folder);
  return true;
}

export function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
