/** The kernel's FUSE protocol 7.31 (include/uapi/linux/fuse.h): numbers, headers, and the channel to a kernel. */
import { closeSync, openSync, read, writeSync } from "node:fs";
import { constants } from "node:os";

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  MKNOD: 8,
  MKDIR: 9,
  RMDIR: 11,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  IOCTL: 39,
  BATCH_FORGET: 42,
  CUSE_INIT: 4096,
} as const;

export const PROTOCOL = { major: 7, minor: 31 } as const;

export type Errno = keyof typeof constants.errno;
export const errnoNumber = (name: Errno): number => constants.errno[name];

const IN_HEADER = 40;
const OUT_HEADER = 16;
/** FUSE_MIN_READ_BUFFER is 8 KiB; this has room for 128 KiB of data. */
const BUFFER = 0x22000;

export interface Request {
  readonly opcode: number;
  readonly unique: bigint;
  readonly node: bigint;
  /** The caller's thread. */
  readonly thread: number;
  readonly body: Buffer;
}

/** Carries the kernel's messages, whole ones. */
export interface Connection {
  /** Calls back for each message; it may change once the callback returned. */
  start(receive: (message: Buffer) => void): void;
  send(message: Buffer): void;
}

/**
 * A connection to this machine's kernel: reads block in a thread of libuv's pool (one for each open connection:
 * UV_THREADPOOL_SIZE must leave room), every message is one write.
 */
export class KernelConnection implements Connection {
  readonly fd: number;
  /** Resolves when the kernel has ended it. */
  readonly ended: Promise<void>;
  #open = true;
  #mounted: boolean;
  #end: () => void = () => undefined;

  constructor(device: "/dev/cuse" | "/dev/fuse") {
    this.fd = openSync(device, "r+");
    // until mount(2) the kernel answers reads of a file system's connection with EPERM
    this.#mounted = device === "/dev/cuse";
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  mounted(): void {
    this.#mounted = true;
  }

  start(receive: (message: Buffer) => void): void {
    const buffer = Buffer.alloc(BUFFER);
    const next = (): void => {
      read(this.fd, buffer, 0, buffer.length, null, (error, length) => {
        if (error === null) {
          receive(buffer.subarray(0, length));
          next();
          return;
        }
        const { code = "" } = error;
        // ENOENT: the request was withdrawn while it was read
        if (["EINTR", "EAGAIN", "ENOENT"].includes(code)) next();
        else if (code === "EPERM" && !this.#mounted) setTimeout(next, 5);
        else this.#close(); // ENODEV: unmounted or aborted
      });
    };
    next();
  }

  #close(): void {
    this.#open = false;
    closeSync(this.fd);
    this.#end();
  }

  send(message: Buffer): void {
    if (!this.#open) return;
    try {
      writeSync(this.fd, message);
    } catch (error) {
      // ENOENT: the caller was killed meanwhile
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
}

/** What a kernel asks and is answered: requests in, a reply or an errno out. */
export class Channel {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  start(handle: (request: Request) => void): void {
    this.#connection.start((message) => {
      handle({
        opcode: message.readUInt32LE(4),
        unique: message.readBigUInt64LE(8),
        node: message.readBigUInt64LE(16),
        thread: message.readUInt32LE(32),
        body: Buffer.from(message.subarray(IN_HEADER)),
      });
    });
  }

  reply(unique: bigint, ...parts: readonly Uint8Array[]): void {
    this.#write(unique, 0, parts);
  }

  fail(unique: bigint, errno: Errno): void {
    this.#write(unique, errnoNumber(errno), []);
  }

  #write(unique: bigint, errno: number, parts: readonly Uint8Array[]): void {
    const header = Buffer.alloc(OUT_HEADER);
    const message = Buffer.concat([header, ...parts]);
    message.writeUInt32LE(message.length, 0);
    message.writeInt32LE(-errno, 4);
    message.writeBigUInt64LE(unique, 8);
    this.#connection.send(message);
  }
}
