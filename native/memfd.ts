/** Files in memory that nobody can change any more: what was checked is what is used (I4). */
import { closeSync, writeSync } from "node:fs";
import { libc, must } from "./libc.ts";

// include/uapi/linux/memfd.h, include/uapi/linux/fcntl.h
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const MFD_NOEXEC_SEAL = 0x8;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL_SHRINK_GROW_WRITE = 0x1 | 0x2 | 0x4 | 0x8;

const memfdCreate = libc("int memfd_create(const char *name, unsigned int flags)");
const fcntl = libc("int fcntl(int fd, int command, long argument)");

export interface MemoryFile extends Disposable {
  readonly fd: number;
  /** Opens the file for this process and for those that inherit the descriptor. */
  readonly path: string;
  /** From now on neither content nor size can change. @throws NATIVE_FAILED */
  seal(): void;
}

/**
 * A file of the kernel's memory, filled and not yet sealed. Not for secrets: its pages may be swapped.
 * @param name shown in /proc, nowhere else
 */
export function memoryFile(name: string, content: Uint8Array): MemoryFile {
  const fd = must("memfd_create", memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  try {
    for (let done = 0; done < content.length;) done += writeSync(fd, content, done);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let open = true;
  return {
    fd,
    path: `/proc/self/fd/${fd}`,
    seal() {
      must("fcntl(F_ADD_SEALS)", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL_SHRINK_GROW_WRITE));
    },
    [Symbol.dispose]() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** Filled and sealed at once. */
export function sealedMemoryFile(name: string, content: Uint8Array): MemoryFile {
  const file = memoryFile(name, content);
  try {
    file.seal();
    return file;
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}
