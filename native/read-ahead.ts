/** readahead(2): what is about to run comes into memory while other work goes on. */
import { open } from "node:fs/promises";
import { libc } from "./libc.ts";

const readahead = libc("long readahead(int fd, long offset, size_t count)");
/** The kernel takes no more of one call than the device's read_ahead_kb, which the initrd of node images sets to 1024. */
const STEP = 1 << 20;

/** A hint: nothing is said of a file that can't be read. */
export async function readAhead(path: string): Promise<void> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    for (let at = 0; at < size; at += STEP) await readahead.async(file.fd, at, STEP);
  } catch {
    // whoever runs it will say why
  }
}
