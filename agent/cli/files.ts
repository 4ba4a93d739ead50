/** Files that a command line names. */
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { SealetError, reasonOf } from "../error.ts";

/** @throws USAGE */
export function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw unusable(`${path} cannot be read`, cause);
  }
}

/** Apart from Node's buffers: what judges evidence knows none. @throws USAGE */
export function readBytes(path: string): Uint8Array {
  return new Uint8Array(readFile(path));
}

/** It is on the disk when this returns; a pipe or a terminal has none. @throws USAGE */
export function writeFile(path: string, content: string | Uint8Array): void {
  try {
    const fd = openSync(path, "w");
    try {
      writeFileSync(fd, content);
      if (fstatSync(fd).isFile()) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw unusable(`${path} cannot be written`, cause);
  }
}

function unusable(what: string, cause: unknown): SealetError {
  return new SealetError("USAGE", `${what}: ${reasonOf(cause)}`, { cause });
}
