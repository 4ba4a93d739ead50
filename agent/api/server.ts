/**
 * Where the node's API is reached: a unix socket for root on this machine, as soon as the agent runs, and mutual TLS
 * for the control plane, once the node is enrolled. The same services stand behind both.
 */
import { rmSync } from "node:fs";
import { type Server as NetServer, type Socket, createServer } from "node:net";
import type { TlsOptions as SecureOptions } from "node:tls";
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { SealetError, asSealetError, reasonOf } from "../error.ts";
import { authorisation } from "./authorisation.ts";
import { HealthService } from "./gen/health.ts";
import { ServerReflectionService } from "./gen/reflection.ts";
import { NodeService } from "./gen/sealet.ts";
import type { Health } from "./health.ts";
import { type NodeView, nodeService } from "./node-service.ts";
import { reflection } from "./reflection.ts";
import { closerOf, openTlsDoor } from "./tls-door.ts";

export const SERVED = [
  "sealet.v1.Node",
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
] as const;

/** What control planes and people need; pods reach the port, too. */
const MAX_CONNECTIONS = 128;
/** For a call that is being answered; who follows events is cut off. */
const CLOSE_GRACE_MS = 100;

/** Nothing that is sent here is large. */
const LIMITS = {
  "grpc.max_receive_message_length": 64 * 1024,
  "grpc.max_concurrent_streams": 32,
  "grpc.max_connection_idle_ms": 300_000,
  "grpc.keepalive_time_ms": 30_000,
};

export interface Listener {
  close(): Promise<void>;
}

function grpcServer(view: NodeView, health: Health, local: boolean): Server {
  const server = new Server({ ...LIMITS, interceptors: [authorisation(local)] });
  const add = (service: ServiceDefinition, implementation: UntypedServiceImplementation) =>
    server.addService(service, implementation);
  add(NodeService, nodeService(view));
  add(HealthService, health.implementation);
  add(ServerReflectionService, reflection(SERVED));
  return server;
}

export interface SocketOptions {
  readonly path: string;
  readonly view: NodeView;
  readonly health: Health;
  /** The kernel's word on who connected. @see native/peer-credentials.ts */
  readonly peer: (socket: Socket) => { readonly uid: number };
  /** Somebody else than root, who should not have got past the file's mode. */
  readonly onRefused?: (error: SealetError) => void;
}

/** @throws INTERNAL where the path cannot be bound */
export async function serveSocket({ path, view, health, peer, onRefused }: SocketOptions): Promise<Listener> {
  const server = grpcServer(view, health, true);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((socket) => {
    try {
      const { uid } = peer(socket);
      if (uid !== 0)
        throw new SealetError("PERMISSION_DENIED", "The socket is root's", {
          expected: "uid 0",
          found: `uid ${uid}`,
        });
    } catch (error) {
      onRefused?.(asSealetError(error));
      socket.destroy();
      return;
    }
    injector.injectConnection(socket);
  });
  const close = closerOf(listener, injector, server, CLOSE_GRACE_MS);
  // A socket that an agent left behind which was killed.
  rmSync(path, { force: true });
  await listen(listener, path);
  return { close };
}

function listen(listener: NetServer, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // stays: a connection that can't be accepted later (EMFILE) costs that connection alone
    listener.on("error", reject);
    // bind(2) is done within the call: there is no moment in which the file has another mode.
    const mask = process.umask(0o177);
    try {
      listener.listen(path, () => resolve());
    } finally {
      process.umask(mask);
    }
  });
}

export interface TlsIdentity {
  /** PEM. */
  readonly privateKey: Buffer;
  readonly certificate: Buffer;
  readonly clusterCa: Buffer;
}

export interface TlsOptions {
  readonly host?: string;
  readonly port: number;
  readonly identity: TlsIdentity;
  readonly view: NodeView;
  readonly health: Health;
}

export interface TlsListener extends Listener {
  readonly port: number;
  /** A renewed certificate, for connections from now on. */
  update(identity: TlsIdentity): void;
}

/** @throws SERVICE_FAILED where the port cannot be bound, or the identity is none */
export async function serveTls({
  host = "::",
  port,
  identity,
  view,
  health,
}: TlsOptions): Promise<TlsListener> {
  try {
    const door = await openTlsDoor({
      grpc: grpcServer(view, health, false),
      host,
      port,
      tls: tlsOf(identity),
      connections: MAX_CONNECTIONS,
      perPeer: MAX_CONNECTIONS / 8,
      graceMs: CLOSE_GRACE_MS,
    });
    return {
      port: door.address.port,
      update: (renewed) => door.update(tlsOf(renewed)),
      close: () => door.close(),
    };
  } catch (cause) {
    throw new SealetError(
      "SERVICE_FAILED",
      `The node API cannot be served on port ${port}: ${reasonOf(cause)}`,
      { cause },
    );
  }
}

/**
 * No connection without a certificate under the cluster's CA: strangers, pods among them, get no further than the
 * handshake.
 */
function tlsOf({ privateKey, certificate, clusterCa }: TlsIdentity): SecureOptions {
  return { key: privateKey, cert: certificate, ca: clusterCa, requestCert: true, rejectUnauthorized: true };
}
