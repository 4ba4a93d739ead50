/** ioctl(2) on devices that take their time: always on a thread of the pool, with that thread's errno. */
import { libc, type Outcome } from "./libc.ts";

// variadic in C; with one pointer the calling conventions of x86_64 and aarch64 Linux are the same
const native = libc("int ioctl(int fd, unsigned long request, void *argument)");

/**
 * @param memory the structure that the request reads and writes
 * @param keep memory that the structure points to; held until the call ends
 */
export async function ioctl(
  fd: number,
  request: number,
  memory: Buffer,
  ...keep: readonly Buffer[]
): Promise<Outcome> {
  const outcome = await native.async(fd, request, memory);
  // reading them here is what keeps them alive until now
  for (const buffer of keep) void buffer.length;
  return outcome;
}
