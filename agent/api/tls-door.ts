/**
 * TLS in front of a gRPC server, for a port that anybody reaches: what a stranger costs is bounded before the handshake,
 * in number and in time.
 */
import { constants } from "node:crypto";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import { type TLSSocket, type TlsOptions, createServer } from "node:tls";
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import { ipBytes } from "../crypto/ip-address.ts";

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Node's timers take no more: 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

type ConnectionInjector = ReturnType<Server["createConnectionInjector"]>;

export interface TlsDoorOptions {
  readonly grpc: Server;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The identity, and what is asked of a client's certificate; TLS 1.3 and HTTP/2 are not up to it. */
  readonly tls: TlsOptions;
  /** Open at a time, in all. */
  readonly connections: number;
  /** And of one peer: half-open ones cost it nothing, and would keep others out. */
  readonly perPeer: number;
  /** Whether a connection whose handshake is done may go on. */
  readonly admit?: (socket: TLSSocket) => boolean;
  /** How long calls may go on once it closes, ms. */
  readonly graceMs: number;
}

export interface TlsDoor {
  readonly address: AddressInfo;
  /** Another identity, for connections from now on. */
  update(tls: TlsOptions): void;
  close(): Promise<void>;
}

/** @throws the system's error where the port can't be bound */
export async function openTlsDoor(options: TlsDoorOptions): Promise<TlsDoor> {
  const { grpc, host, port, connections, perPeer, admit, graceMs } = options;
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const server = createServer(withDefaults(options.tls));
  server.maxConnections = connections;
  limitEachPeer(server, perPeer);
  const close = closerOf(server, injector, grpc, graceMs);
  server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    endWithCertificate(socket);
    if (socket.alpnProtocol === "h2" && admit?.(socket) !== false) injector.injectConnection(socket);
    else socket.destroy();
  });
  server.on("tlsClientError", () => undefined);
  const address = await new Promise<AddressInfo | string | null>((resolve, reject) => {
    // stays: a connection that can't be accepted later (EMFILE) is an error event, too, and costs that connection alone
    server.on("error", reject);
    server.listen({ host, port, backlog: 4096 }, () => resolve(server.address()));
  });
  if (address === null || typeof address === "string") throw new Error("a TCP server has an address");
  return {
    address,
    update: (tls) => server.setSecureContext(withDefaults(tls)),
    close,
  };
}

function withDefaults(tls: TlsOptions): TlsOptions {
  return {
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    secureOptions: constants.SSL_OP_NO_TICKET,
    ...tls,
  };
}

/** Who was let in by a certificate of the CA stays for as long as that is valid: what is open takes new calls, too. */
function endWithCertificate(socket: TLSSocket): void {
  const certificate = socket.getPeerX509Certificate();
  if (!socket.authorized || certificate === undefined) return;
  const left = certificate.validToDate.getTime() - Date.now();
  const end = setTimeout(() => socket.destroy(), Math.min(left, LONGEST_TIMER_MS));
  socket.once("close", () => clearTimeout(end));
}

/**
 * @param server to be asked before anybody connects
 * @returns closes it: calls may go on for a while; then what is connected is ended, also what never said a word
 */
export function closerOf(
  server: NetServer,
  injector: ConnectionInjector,
  grpc: Server,
  graceMs: number,
): () => Promise<void> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return async () => {
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    injector.drain(graceMs);
    await shutDown(grpc, graceMs);
    for (const socket of sockets) socket.destroy();
    await closed;
  };
}

/** Calls may go on to their end for a while. */
export function shutDown(grpc: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => grpc.forceShutdown(), graceMs);
    grpc.tryShutdown(() => {
      clearTimeout(force);
      resolve();
    });
  });
}

/** Before the handshake, which is what a connection costs. */
function limitEachPeer(server: NetServer, most: number): void {
  const open = new Map<string, number>();
  server.on("connection", (socket) => {
    const group = peerGroup(socket.remoteAddress ?? "");
    const count = (open.get(group) ?? 0) + 1;
    if (count > most) {
      socket.destroy();
      return;
    }
    open.set(group, count);
    socket.once("close", () => {
      const left = (open.get(group) ?? 1) - 1;
      if (left > 0) open.set(group, left);
      else open.delete(group);
    });
  });
}

const MAPPED = Buffer.from("00000000000000000000ffff", "hex"); // ::ffff:0:0/96, RFC 4291 §2.5.5.2

/**
 * Whose share a connection or request counts against: an IPv4 address, or an IPv6 network of 64 bits, which one machine
 * may have.
 * @param address may name a zone (RFC 4007 §11), which is this machine's word and not the peer's
 */
export function peerGroup(address: string): string {
  const bytes = ipBytes(address.replace(/%.*$/s, ""));
  if (bytes === undefined) return address;
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.subarray(0, 12).equals(MAPPED)) return bytes.subarray(12).join(".");
  return `${bytes.toString("hex", 0, 8)}::/64`;
}
