/** The kernel's FUSE protocol 7.31 (include/uapi/linux/fuse.h): numbers, headers, and one channel to the kernel. */
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

/**
 * A connection to the kernel: reads block in a thread of libuv's pool (one for each open channel: UV_THREADPOOL_SIZE
 * must leave room), every reply is one write.
 */
export class Channel {
  readonly fd: number;
  readonly #handle: (request: Request) => void;
  #open = true;
  #mounted: boolean;
  /** Resolves when the kernel has ended the connection. */
  readonly ended: Promise<void>;
  #end: () => void = () => undefined;

  /**
   * @param connection a descriptor where one is open already
   * @param mounted false for a file system: until mount(2) the kernel answers reads with EPERM
   */
  constructor(
    connection: "/dev/cuse" | "/dev/fuse" | number,
    mounted: boolean,
    handle: (request: Request) => void,
  ) {
    this.fd = typeof connection === "number" ? connection : openSync(connection, "r+");
    this.#handle = handle;
    this.#mounted = mounted;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  start(): void {
    this.#next(Buffer.alloc(BUFFER));
  }

  mounted(): void {
    this.#mounted = true;
  }

  #next(buffer: Buffer): void {
    read(this.fd, buffer, 0, buffer.length, null, (error, length) => {
      if (error !== null) {
        const { code = "" } = error;
        // ENOENT: the request was withdrawn while it was read
        if (["EINTR", "EAGAIN", "ENOENT"].includes(code)) this.#next(buffer);
        else if (code === "EPERM" && !this.#mounted) setTimeout(() => this.#next(buffer), 5);
        else this.#close(); // ENODEV: unmounted or aborted
        return;
      }
      const request = {
        opcode: buffer.readUInt32LE(4),
        unique: buffer.readBigUInt64LE(8),
        node: buffer.readBigUInt64LE(16),
        thread: buffer.readUInt32LE(32),
        body: Buffer.from(buffer.subarray(IN_HEADER, length)),
      };
      this.#handle(request);
      this.#next(buffer);
    });
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
    this.#end();
  }

  reply(unique: bigint, ...parts: readonly Uint8Array[]): void {
    this.#write(unique, 0, parts);
  }

  fail(unique: bigint, errno: Errno): void {
    this.#write(unique, errnoNumber(errno), []);
  }

  #write(unique: bigint, errno: number, parts: readonly Uint8Array[]): void {
    if (!this.#open) return;
    const header = Buffer.alloc(OUT_HEADER);
    const message = Buffer.concat([header, ...parts]);
    message.writeUInt32LE(message.length, 0);
    message.writeInt32LE(-errno, 4);
    message.writeBigUInt64LE(unique, 8);
    try {
      writeSync(this.fd, message);
    } catch (error) {
      // ENOENT: the caller was killed meanwhile
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
}
