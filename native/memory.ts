/**
 * Memory for secrets (I9): locked against swapping, left out of core dumps, empty in forked children, wiped and
 * unmapped when its scope ends. Must never hand out a copy; what copies the bytes out is responsible for its copy.
 */
import { inspect } from "node:util";
import koffi from "koffi";
import { SealetError } from "../agent/error.ts";
import { errnoName, libc, must } from "./libc.ts";
import { RLIMIT, Struct } from "./layout.ts";

const PAGE = 4096;
// include/uapi/asm-generic/mman-common.h, mman.h
const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20;
const MADV_DONTDUMP = 16;
const MADV_WIPEONFORK = 18;
const MCL_CURRENT_FUTURE_ONFAULT = 1 | 2 | 4;
// include/uapi/linux/prctl.h, include/uapi/asm-generic/resource.h
const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;

const library = koffi.load("libc.so.6");
const mmap: (...args: readonly (number | bigint | null)[]) => unknown = library.func(
  "intptr_t mmap(void *address, size_t length, int protection, int flags, int fd, long offset)",
);
const munmap = libc("int munmap(uintptr_t address, size_t length)");
const mlock = libc("int mlock(uintptr_t address, size_t length)");
const madvise = libc("int madvise(uintptr_t address, size_t length, int advice)");
const mlockall = libc("int mlockall(int flags)");
const prctl = libc(
  "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)",
);
const setrlimit = libc("int setrlimit(int resource, const void *limit)");

/** A secret. `using key = Secret.allocate(32)` wipes it at the end of the block. */
export class Secret implements Disposable {
  readonly length: number;
  readonly #address: bigint;
  readonly #mapped: number;
  #memory: ArrayBuffer | undefined;

  private constructor(address: bigint, mapped: number, length: number, memory: ArrayBuffer) {
    this.#address = address;
    this.#mapped = mapped;
    this.length = length;
    this.#memory = memory;
  }

  /** Zeros, to be filled. @throws NATIVE_FAILED where the memory can't be locked */
  static allocate(length: number): Secret {
    if (!Number.isInteger(length) || length < 1) throw new RangeError(`a secret has no ${length} bytes`);
    const mapped = Math.ceil(length / PAGE) * PAGE;
    const result = mmap(null, mapped, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    const errno = koffi.errno();
    const address = BigInt(Number(result));
    if (address === -1n)
      throw new SealetError("NATIVE_FAILED", `mmap of ${mapped} bytes failed: ${errnoName(errno)}`);
    try {
      must(`mlock of ${mapped} bytes for a secret (RLIMIT_MEMLOCK?)`, mlock(address, mapped));
      must("madvise(MADV_DONTDUMP)", madvise(address, mapped, MADV_DONTDUMP));
      must("madvise(MADV_WIPEONFORK)", madvise(address, mapped, MADV_WIPEONFORK));
    } catch (error) {
      munmap(address, mapped);
      throw error;
    }
    return new Secret(address, mapped, length, koffi.view(address, mapped));
  }

  /** Moves bytes in: the source is wiped. */
  static take(source: Uint8Array): Secret {
    const secret = Secret.allocate(source.length);
    secret.bytes.set(source);
    source.fill(0);
    return secret;
  }

  /** The memory itself; invalid once the secret is disposed of. */
  get bytes(): Buffer {
    if (this.#memory === undefined) throw new SealetError("INTERNAL", "a secret was used after its end");
    return Buffer.from(this.#memory, 0, this.length);
  }

  get disposed(): boolean {
    return this.#memory === undefined;
  }

  [Symbol.dispose](): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    this.#memory = undefined;
    new Uint8Array(memory).fill(0);
    memory.transfer(0); // detaches: Buffers that are still held become empty instead of pointing to unmapped memory
    munmap(this.#address, this.#mapped);
  }

  toJSON(): string {
    return this.toString();
  }

  toString(): string {
    return `[secret of ${this.length} bytes]`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

export interface Hardening {
  /** Whether all memory of the process is to stay out of swap, as pages are first used. */
  readonly lockAll: boolean;
}

/** No core dumps, no ptrace by processes of the same user, no reading of /proc/self/mem by them. */
export function hardenProcess({ lockAll }: Hardening): void {
  must("prctl(PR_SET_DUMPABLE)", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
  must("setrlimit(RLIMIT_CORE)", setrlimit(RLIMIT_CORE, new Struct(RLIMIT).bytes));
  if (lockAll) must("mlockall", mlockall(MCL_CURRENT_FUTURE_ONFAULT));
}
