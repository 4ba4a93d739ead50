/**
 * Calls of the C library, with the errno of the thread that made them. Asynchronous calls run on libuv's pool, never on
 * the event loop's thread, and hold their memory until they end. Failing is the caller's to judge: nothing here throws
 * for an errno except `must`.
 */
import { constants } from "node:os";
import koffi from "koffi";
import { SealetError } from "../agent/error.ts";

/** What goes into a C function; a Buffer is passed as a pointer to its memory. */
type Argument = number | bigint | string | Buffer | null;

export interface Outcome {
  readonly value: number;
  /** 0 unless `value` is -1. */
  readonly errno: number;
}

export interface NativeFunction {
  /** On the caller's thread: only for what can't block. */
  (...args: readonly Argument[]): Outcome;
  /** On a thread of the pool. */
  readonly async: (...args: readonly Argument[]) => Promise<Outcome>;
}

const library = koffi.load("libc.so.6");

/**
 * koffi.errno() is this thread's errno: of the call itself after a synchronous one, and what koffi carried over from the
 * pool's thread for as long as an asynchronous one's callback runs. Any other call on the way here would overwrite it.
 */
function outcome(result: unknown): Outcome {
  const errno = koffi.errno();
  const value = Number(result);
  return { value, errno: value === -1 ? errno : 0 };
}

/** @param prototype in C; the result is an int or a long (koffi knows no ssize_t): -1 says that errno holds the reason */
export function libc(prototype: string): NativeFunction {
  const native: {
    (...args: readonly Argument[]): unknown;
    async: (...args: readonly unknown[]) => unknown;
  } = library.func(prototype);
  return Object.assign((...args: readonly Argument[]) => outcome(native(...args)), {
    async: (...args: readonly Argument[]) =>
      new Promise<Outcome>((resolve, reject) => {
        native.async(...args, (error: unknown, result: unknown) => {
          // koffi does not hold the arguments: without a reference from here the collector could free a Buffer
          // while the kernel writes to it
          if (error === null && args.length >= 0) resolve(outcome(result));
          else reject(error instanceof Error ? error : new Error(String(error)));
        });
      }),
  });
}

// of two names for one number (EAGAIN, EWOULDBLOCK) the older stands first
const NAMES = new Map(
  Object.entries(constants.errno)
    .map(([name, errno]) => [errno, name] as const)
    .toReversed(),
);

/** The symbol of an errno, such as `EBUSY`. */
export function errnoName(errno: number): string {
  return errno === 0 ? "0" : (NAMES.get(errno) ?? `errno ${errno}`);
}

/** The errno of a symbol, on this machine. */
export function errnoOf(name: keyof typeof constants.errno): number {
  return constants.errno[name];
}

/** @returns the value of a call that must succeed @throws NATIVE_FAILED with its errno */
export function must(what: string, { value, errno }: Outcome): number {
  if (value === -1) throw new SealetError("NATIVE_FAILED", `${what} failed: ${errnoName(errno)}`);
  return value;
}

/** Where a Buffer's memory is, for structures that hold pointers. The Buffer must outlive the call that follows it. */
export function addressOf(buffer: Buffer): bigint {
  return koffi.address(buffer);
}
