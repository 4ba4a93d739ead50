/**
 * configfs-tsm as a FUSE file system: mounted over the kernel's own `tsm/report` where its module is loaded, else over
 * configfs itself. Nothing is cached, and what is written to inblob counts when the file is closed, as in configfs.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Channel, KernelConnection, OPCODE, PROTOCOL, type Errno, type Request } from "./fuse-protocol.ts";
import { MAX_INBLOB, ReportEntry, type Provider } from "./tsm-reports.ts";

const FOPEN_DIRECT_IO = 1;
const DT_DIR = 4;
const DT_REG = 8;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

interface Node {
  readonly id: bigint;
  readonly name: string;
  readonly mode: number;
  readonly children: Map<string, Node> | undefined;
  readonly entry: ReportEntry | undefined;
}

/** An open file: what it read first stays what it reads; what is written waits for the close. */
interface Handle {
  readonly node: Node;
  snapshot?: Buffer;
  pending?: Buffer;
}

const FILES: Readonly<Record<string, number>> = {
  provider: 0o444,
  generation: 0o444,
  inblob: 0o200,
  outblob: 0o444,
  auxblob: 0o444,
  privlevel: 0o200,
  privlevel_floor: 0o444,
};
const ALWAYS: readonly string[] = ["provider", "generation", "inblob", "outblob"];

class Tree {
  readonly #nodes = new Map<bigint, Node>();
  readonly #provider: Provider;
  #lastId = 0n;
  readonly reports: Node;

  constructor(prefix: readonly string[], provider: Provider) {
    this.#provider = provider;
    let folder = this.#add("", 0o755, new Map());
    for (const name of prefix) {
      const child = this.#add(name, 0o755, new Map());
      folder.children?.set(name, child);
      folder = child;
    }
    this.reports = folder;
  }

  #add(name: string, mode: number, children?: Map<string, Node>, entry?: ReportEntry): Node {
    const node = { id: ++this.#lastId, name, mode, children, entry };
    this.#nodes.set(node.id, node);
    return node;
  }

  get(id: bigint): Node | undefined {
    return this.#nodes.get(id);
  }

  makeReport(name: string): Node {
    const entry = new ReportEntry(this.#provider);
    const folder = this.#add(name, 0o755, new Map(), entry);
    for (const [file, mode] of Object.entries(FILES))
      if (ALWAYS.includes(file) || this.#provider.attributes.some((attribute) => attribute === file))
        folder.children?.set(file, this.#add(file, mode, undefined, entry));
    this.reports.children?.set(name, folder);
    return folder;
  }

  remove(node: Node): void {
    this.reports.children?.delete(node.name);
    for (const child of node.children?.values() ?? []) this.#nodes.delete(child.id);
    this.#nodes.delete(node.id);
  }
}

/** A failure that the caller's system call returns. */
class Refusal extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super(errno);
    this.errno = errno;
  }
}

class Configfs {
  readonly #tree: Tree;
  readonly #provider: Provider;
  readonly #handles = new Map<bigint, Handle>();
  #lastHandle = 0n;

  constructor(prefix: readonly string[], provider: Provider) {
    this.#tree = new Tree(prefix, provider);
    this.#provider = provider;
  }

  /** @returns the reply's body, or undefined where the protocol has no reply */
  async handle(request: Request): Promise<readonly Buffer[] | undefined> {
    const { opcode, body } = request;
    switch (opcode) {
      case OPCODE.INIT:
        return [initOut()];
      case OPCODE.LOOKUP: {
        const child = this.#node(request).children?.get(text(body));
        if (child === undefined) throw new Refusal("ENOENT");
        return [entryOut(child)];
      }
      case OPCODE.GETATTR:
      case OPCODE.SETATTR: // truncation at open; configfs ignores it
        return [Buffer.alloc(16), attributes(this.#node(request))];
      case OPCODE.MKDIR: {
        const name = text(body, 8);
        if (this.#node(request) !== this.#tree.reports) throw new Refusal("EPERM");
        if (this.#tree.reports.children?.has(name) === true) throw new Refusal("EEXIST");
        return [entryOut(this.#tree.makeReport(name))];
      }
      case OPCODE.RMDIR: {
        const child = this.#node(request).children?.get(text(body));
        if (child === undefined) throw new Refusal("ENOENT");
        if (child.entry === undefined) throw new Refusal("EPERM");
        this.#tree.remove(child);
        return [];
      }
      case OPCODE.OPEN:
      case OPCODE.OPENDIR:
        return [this.#open(this.#node(request), opcode)];
      case OPCODE.READ:
        return [await this.#read(body)];
      case OPCODE.WRITE:
        return [this.#write(body)];
      case OPCODE.FLUSH:
        this.#commit(body);
        return [];
      case OPCODE.RELEASE:
      case OPCODE.RELEASEDIR:
        this.#handles.delete(body.readBigUInt64LE(0));
        return [];
      case OPCODE.READDIR:
        return [list(this.#node(request), body)];
      case OPCODE.STATFS: {
        const out = Buffer.alloc(80);
        out.writeUInt32LE(4096, 40);
        out.writeUInt32LE(255, 44);
        return [out];
      }
      case OPCODE.CREATE:
      case OPCODE.MKNOD:
        throw new Refusal("EACCES");
      case OPCODE.FORGET:
      case OPCODE.BATCH_FORGET:
      case OPCODE.INTERRUPT:
        return undefined;
      case OPCODE.DESTROY:
      case OPCODE.FSYNC:
        return [];
      default:
        throw new Refusal("ENOSYS");
    }
  }

  #node({ node }: Request): Node {
    const found = this.#tree.get(node);
    if (found === undefined) throw new Refusal("ENOENT");
    return found;
  }

  #handle(body: Buffer): Handle {
    const handle = this.#handles.get(body.readBigUInt64LE(0));
    if (handle === undefined) throw new Refusal("EBADF");
    return handle;
  }

  #open(node: Node, opcode: number): Buffer {
    const id = ++this.#lastHandle;
    this.#handles.set(id, { node });
    const out = Buffer.alloc(16);
    out.writeBigUInt64LE(id, 0);
    out.writeUInt32LE(opcode === OPCODE.OPEN ? FOPEN_DIRECT_IO : 0, 8);
    return out;
  }

  async #read(body: Buffer): Promise<Buffer> {
    const handle = this.#handle(body);
    const offset = Number(body.readBigUInt64LE(8));
    handle.snapshot ??= await this.#show(handle.node);
    return handle.snapshot.subarray(offset, offset + body.readUInt32LE(16));
  }

  async #show({ name, entry }: Node): Promise<Buffer> {
    if (entry === undefined) throw new Refusal("EISDIR");
    if (name === "provider") return Buffer.from(`${this.#provider.name}\n`);
    if (name === "generation") return Buffer.from(`${entry.generation}\n`);
    if (name === "privlevel_floor") return Buffer.from(`${this.#provider.floor}\n`);
    if (name !== "outblob" && name !== "auxblob") throw new Refusal("EACCES");
    if (this.#provider.faults.takeForeignWrite()) entry.touch();
    const blobs = await entry.blobs();
    if (typeof blobs === "string") throw new Refusal(blobs);
    return blobs[name];
  }

  #write(body: Buffer): Buffer {
    const handle = this.#handle(body);
    const offset = Number(body.readBigUInt64LE(8));
    const size = body.readUInt32LE(16);
    const data = body.subarray(40, 40 + size);
    const { name, entry } = handle.node;
    if (name === "inblob") {
      if (offset + size > MAX_INBLOB) throw new Refusal("EFBIG");
      const pending = Buffer.alloc(Math.max(offset + size, handle.pending?.length ?? 0));
      handle.pending?.copy(pending);
      data.copy(pending, offset);
      handle.pending = pending;
    } else if (name === "privlevel") {
      const refused = entry?.setPrivlevel(data.toString("latin1"));
      if (refused !== undefined) throw new Refusal(refused);
    } else throw new Refusal("EACCES");
    const out = Buffer.alloc(8);
    out.writeUInt32LE(size, 0);
    return out;
  }

  /** close(2) waits for FLUSH, not for RELEASE. */
  #commit(body: Buffer): void {
    const handle = this.#handle(body);
    if (handle.pending === undefined) return;
    handle.node.entry?.setInblob(handle.pending);
    delete handle.pending;
  }
}

/** struct fuse_init_out */
function initOut(): Buffer {
  const out = Buffer.alloc(64);
  out.writeUInt32LE(PROTOCOL.major, 0);
  out.writeUInt32LE(PROTOCOL.minor, 4);
  out.writeUInt32LE(0x20000, 8); // max_readahead
  out.writeUInt16LE(16, 16); // max_background
  out.writeUInt16LE(12, 18); // congestion_threshold
  out.writeUInt32LE(0x10000, 20); // max_write
  out.writeUInt32LE(1, 24); // time_gran
  return out;
}

/** struct fuse_attr */
function attributes(node: Node): Buffer {
  const folder = node.children !== undefined;
  const out = Buffer.alloc(88);
  out.writeBigUInt64LE(node.id, 0);
  out.writeBigUInt64LE(folder || node.name.endsWith("blob") ? 0n : 4096n, 8);
  out.writeUInt32LE((folder ? S_IFDIR : S_IFREG) | node.mode, 60);
  out.writeUInt32LE(folder ? 2 : 1, 64);
  out.writeUInt32LE(4096, 80);
  return out;
}

/** struct fuse_entry_out: nothing is valid for any time, so the kernel asks again each time. */
function entryOut(node: Node): Buffer {
  const out = Buffer.alloc(40);
  out.writeBigUInt64LE(node.id, 0);
  return Buffer.concat([out, attributes(node)]);
}

/** struct fuse_dirent, as many as fit */
function list(node: Node, body: Buffer): Buffer {
  const offset = Number(body.readBigUInt64LE(8));
  const room = body.readUInt32LE(16);
  const names = [".", "..", ...(node.children?.keys() ?? [])];
  const parts: Buffer[] = [];
  let size = 0;
  for (const [index, name] of names.entries()) {
    if (index < offset) continue;
    const bytes = Buffer.from(name);
    const entry = Buffer.alloc((24 + bytes.length + 7) & ~7);
    if (size + entry.length > room) break;
    const child = node.children?.get(name);
    entry.writeBigUInt64LE(child?.id ?? 1n, 0);
    entry.writeBigUInt64LE(BigInt(index + 1), 8);
    entry.writeUInt32LE(bytes.length, 16);
    entry.writeUInt32LE(child === undefined || child.children !== undefined ? DT_DIR : DT_REG, 20);
    bytes.copy(entry, 24);
    parts.push(entry);
    size += entry.length;
  }
  return Buffer.concat(parts);
}

function text(body: Buffer, at = 0): string {
  return body.toString("utf8", at, body.indexOf(0, at));
}

export interface MountedTsm {
  close(): Promise<void>;
}

/** @param configfs where the kernel has configfs, or where it would */
export async function mountTsm(configfs: string, provider: Provider): Promise<MountedTsm> {
  const kernels = join(configfs, "tsm/report");
  const over = existsSync(kernels);
  const target = over ? kernels : configfs;
  const files = new Configfs(over ? [] : ["tsm", "report"], provider);
  const connection = new KernelConnection("/dev/fuse");
  const channel = new Channel(connection);
  const answer = async (request: Request): Promise<void> => {
    try {
      const reply = await files.handle(request);
      if (reply !== undefined) channel.reply(request.unique, ...reply);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error("configfs-tsm:", error);
      channel.fail(request.unique, error instanceof Refusal ? error.errno : "EIO");
    }
  };
  // mount(8) looks at the mount point before it returns: the answers must come meanwhile
  channel.start((request) => void answer(request));
  const options = "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions";
  await run("mount", ["-i", "-t", "fuse", "-o", options, "tsm-twin", target], connection.fd);
  connection.mounted();
  return {
    async close() {
      await run("umount", ["-l", target]);
      await connection.ended;
    },
  };
}

/** @param fd becomes the program's descriptor 3 */
async function run(program: string, args: readonly string[], fd?: number): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit", fd ?? "ignore"] });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${String(code)}`);
}
