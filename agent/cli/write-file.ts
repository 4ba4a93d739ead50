/** What a command was asked to write, whole and on the disk before it says so. */
import { writeFileSync } from "node:fs";
import { SealetError } from "../error.ts";

/** @throws USAGE */
export function writeFile(path: string, content: string | Uint8Array): void {
  try {
    writeFileSync(path, content, { flush: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SealetError("USAGE", `${path} cannot be written: ${why}`, { cause });
  }
}
