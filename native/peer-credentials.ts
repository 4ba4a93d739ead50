/**
 * Who is at the other end of a unix socket: the kernel's word, taken when the peer connected. Node has no call for it.
 * For gRPC: accept with `net.createServer`, ask here, and only then hand the socket to the server's
 * `createConnectionInjector(...).injectConnection(socket)`.
 */
import type { Socket } from "node:net";
import { SealetError } from "../agent/error.ts";
import { libc, must } from "./libc.ts";
import { Struct, UCRED } from "./layout.ts";

// include/uapi/asm-generic/socket.h
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

const getsockopt = libc("int getsockopt(int fd, int level, int option, void *value, void *length)");

export interface PeerCredentials {
  /** For logs only: the process may have ended, and another may have its number. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** @throws NATIVE_FAILED if the socket is closed or no unix socket */
export function peerCredentials(socket: Socket): PeerCredentials {
  const credentials = new Struct(UCRED);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(UCRED.size);
  must(
    "getsockopt(SO_PEERCRED)",
    getsockopt(descriptorOf(socket), SOL_SOCKET, SO_PEERCRED, credentials.bytes, length),
  );
  // a socket of another family succeeds with pid 0 and uid, gid -1
  if (length.readUInt32LE() !== UCRED.size || credentials.get("pid") === 0)
    throw new SealetError("NATIVE_FAILED", "SO_PEERCRED: the socket is no connected unix socket");
  return { pid: credentials.get("pid"), uid: credentials.get("uid"), gid: credentials.get("gid") };
}

/** Node documents no way to a socket's descriptor; its handle has had this property since 0.x. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd !== "number" || fd < 0)
    throw new SealetError("NATIVE_FAILED", "SO_PEERCRED: the socket is closed");
  return fd;
}
