/**
 * A character device served by this process through CUSE, for requests of ioctl(2) whose structures hold pointers
 * ("unrestricted" ioctls). The kernel copies memory of the caller on our word: a RETRY names what is to be read and
 * written, and the kernel asks again with that. What its protocol does not say and cost time to find:
 * - each retry is a request of its own; it does not echo the vectors; flat structures need one too;
 * - once a retry named input, every later one must name some (`in_pages` stays set, fs/fuse/ioctl.c);
 * - a result below zero with header error 0 still copies output; a header error copies nothing.
 */
import { readFileSync, writeFileSync } from "node:fs";
import {
  Channel,
  KernelConnection,
  OPCODE,
  PROTOCOL,
  type Connection,
  type Request,
} from "./fuse-protocol.ts";

const CUSE_UNRESTRICTED_IOCTL = 1;
const FUSE_IOCTL_COMPAT = 1;
const FUSE_IOCTL_RETRY = 4;
const IOCTL_IN = 32;
const MAX_TRANSFER = 0x20000;

/** An ioctl(2) of some process, as a driver sees it. */
export interface IoctlCall {
  readonly command: number;
  readonly argument: bigint;
  /** copy_from_user; a bad address ends the call with EFAULT, and this never resolves. */
  read(address: bigint, length: number): Promise<Buffer>;
  /** copy_to_user, when the handler has returned. */
  write(address: bigint, data: Uint8Array): void;
}

/** @returns what ioctl(2) returns: 0 or more, or a negative errno */
export type IoctlHandler = (call: IoctlCall) => Promise<number>;

interface Vector {
  readonly address: bigint;
  readonly length: number;
}

class Session implements IoctlCall {
  readonly command: number;
  readonly argument: bigint;
  readonly #channel: Channel;
  #current: Request;
  #resume: ((request: Request) => void) | undefined;
  #input: Vector | undefined;
  readonly #writes: { readonly address: bigint; readonly data: Uint8Array }[] = [];
  #ended = false;

  constructor(channel: Channel, first: Request) {
    this.#channel = channel;
    this.#current = first;
    this.command = first.body.readUInt32LE(12);
    this.argument = first.body.readBigUInt64LE(16);
  }

  get waitsFor(): bigint {
    return this.#current.unique;
  }

  async read(address: bigint, length: number): Promise<Buffer> {
    this.#input ??= { address, length };
    await this.#retry([{ address, length }], []);
    return Buffer.from(this.#current.body.subarray(IOCTL_IN, IOCTL_IN + length));
  }

  write(address: bigint, data: Uint8Array): void {
    if (data.length > 0) this.#writes.push({ address, data });
  }

  /** The kernel asks again. @returns false if nobody waits for it */
  resume(request: Request): boolean {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.(request);
    return resume !== undefined;
  }

  async run(handler: IoctlHandler): Promise<void> {
    const result = await handler(this);
    if (this.#ended) return;
    if (this.#writes.length > 0)
      await this.#retry(
        this.#input === undefined ? [] : [this.#input],
        this.#writes.map(({ address, data }) => ({ address, length: data.length })),
      );
    this.#answer(result, 0, 0, 0, ...this.#writes.map(({ data }) => data));
    this.#ended = true;
  }

  /** The caller dies: it stays in state D until its request is answered. */
  abandon(): void {
    this.#ended = true;
    this.#channel.fail(this.#current.unique, "EINTR");
  }

  async #retry(input: readonly Vector[], output: readonly Vector[]): Promise<void> {
    const vectors = Buffer.alloc(16 * (input.length + output.length));
    [...input, ...output].forEach(({ address, length }, index) => {
      vectors.writeBigUInt64LE(address, 16 * index);
      vectors.writeBigUInt64LE(BigInt(length), 16 * index + 8);
    });
    this.#current = await new Promise<Request>((resolve) => {
      this.#resume = resolve;
      this.#answer(0, FUSE_IOCTL_RETRY, input.length, output.length, vectors);
    });
  }

  /** struct fuse_ioctl_out */
  #answer(
    result: number,
    flags: number,
    inputs: number,
    outputs: number,
    ...data: readonly Uint8Array[]
  ): void {
    const out = Buffer.alloc(16);
    out.writeInt32LE(result, 0);
    out.writeUInt32LE(flags, 4);
    out.writeUInt32LE(inputs, 8);
    out.writeUInt32LE(outputs, 12);
    this.#channel.reply(this.#current.unique, out, ...data);
  }
}

export interface CuseDevice {
  /** Ends the connection; callers get ENODEV or ENOTCONN. Without it the process could not exit. */
  close(): Promise<void>;
}

/**
 * Serves `/dev/<name>` of this machine, mode 0600; there when this resolves.
 * @throws where there is no /dev/cuse
 */
export async function serveDevice(name: string, handler: IoctlHandler): Promise<CuseDevice> {
  const connection = new KernelConnection("/dev/cuse");
  await serveConnection(connection, name, handler);
  return {
    async close() {
      writeFileSync(`/sys/class/cuse/${name}/abort`, "1");
      await connection.ended;
    },
  };
}

/** Serves the device of a kernel that asks over this connection. @returns when the device is there */
export function serveConnection(connection: Connection, name: string, handler: IoctlHandler): Promise<void> {
  const channel = new Channel(connection);
  /** By the caller's thread, which has one request at a time. */
  const sessions = new Map<number, Session>();
  let files = 0n;
  const { promise: ready, resolve: markReady } = Promise.withResolvers<void>();

  const ioctl = (request: Request): void => {
    if ((request.body.readUInt32LE(8) & FUSE_IOCTL_COMPAT) !== 0) {
      channel.fail(request.unique, "ENOTTY");
      return;
    }
    const fresh = request.body.readUInt32LE(24) === 0 && request.body.readUInt32LE(28) === 0;
    if (!fresh) {
      if (sessions.get(request.thread)?.resume(request) !== true) channel.fail(request.unique, "EIO");
      return;
    }
    const session = new Session(channel, request);
    sessions.set(request.thread, session);
    void serve(session, request.thread);
  };

  const serve = async (session: Session, thread: number): Promise<void> => {
    try {
      await session.run(handler);
    } catch (error) {
      console.error(`${name}:`, error);
      channel.fail(session.waitsFor, "EIO");
    }
    if (sessions.get(thread) === session) sessions.delete(thread);
  };

  channel.start((request) => {
    switch (request.opcode) {
      case OPCODE.CUSE_INIT:
        // the device appears within this write(2)
        channel.reply(request.unique, initOut(request), Buffer.from(`DEVNAME=${name}\0`));
        markReady();
        return;
      case OPCODE.OPEN: {
        const out = Buffer.alloc(16);
        out.writeBigUInt64LE(++files, 0);
        channel.reply(request.unique, out);
        return;
      }
      case OPCODE.IOCTL:
        ioctl(request);
        return;
      case OPCODE.INTERRUPT: {
        const unique = request.body.readBigUInt64LE(0);
        for (const [thread, session] of sessions)
          if (session.waitsFor === unique && isDying(thread)) {
            sessions.delete(thread);
            session.abandon();
          }
        return;
      }
      case OPCODE.RELEASE:
      case OPCODE.FLUSH:
        channel.reply(request.unique);
        return;
      case OPCODE.READ:
      case OPCODE.WRITE:
        channel.fail(request.unique, "EINVAL"); // as of a misc device without read and write
        return;
      case OPCODE.FORGET:
      case OPCODE.BATCH_FORGET:
        return; // have no answer
      default:
        channel.fail(request.unique, "ENOSYS");
    }
  });
  return ready;
}

/** struct cuse_init_out */
function initOut(request: Request): Buffer {
  const out = Buffer.alloc(72);
  out.writeUInt32LE(PROTOCOL.major, 0);
  out.writeUInt32LE(Math.min(PROTOCOL.minor, request.body.readUInt32LE(4)), 4);
  out.writeUInt32LE(CUSE_UNRESTRICTED_IOCTL, 12);
  out.writeUInt32LE(MAX_TRANSFER, 16);
  out.writeUInt32LE(MAX_TRANSFER, 20);
  return out;
}

/** Whether SIGKILL is pending for a thread (proc(5), SigPnd). */
function isDying(thread: number): boolean {
  try {
    const status = readFileSync(`/proc/${thread}/status`, "utf8");
    return [...status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)/gmu)].some(
      ([, mask = "0"]) => (BigInt(`0x${mask}`) & (1n << 8n)) !== 0n,
    );
  } catch {
    return false;
  }
}
