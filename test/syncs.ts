/** What makes a file durable, in the order in which it is done. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/** @returns each fsync(2), by what it is of, and each rename(2) */
export function syncsOf(run: () => unknown): string[] {
  const { fsyncSync, renameSync } = fs;
  const seen: string[] = [];
  replace({
    fsyncSync: (fd) => {
      seen.push(fs.fstatSync(fd).isDirectory() ? "folder" : "file");
      fsyncSync(fd);
    },
    renameSync: (from, to) => {
      seen.push("rename");
      renameSync(from, to);
    },
  });
  try {
    run();
  } finally {
    replace({ fsyncSync, renameSync });
  }
  return seen;
}

function replace(functions: Partial<typeof fs>): void {
  Object.assign(fs, functions);
  syncBuiltinESMExports();
}
