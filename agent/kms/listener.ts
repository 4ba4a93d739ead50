/**
 * The KMS's two doors. For nodes: TLS 1.3 with X25519MLKEM768, a client certificate demanded whose key is the peer's
 * identity (its chain says nothing). For operators: a unix socket that only root may connect to.
 */
import { chmodSync, rmSync } from "node:fs";
import { Server, ServerCredentials, type handleUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { KmsService, OperatorService as OperatorDefinition } from "../api/gen/sealet.ts";
import { toStatus } from "../api/status.ts";
import { openTlsDoor, shutDown } from "../api/tls-door.ts";
import { SealetError, reasonOf } from "../error.ts";
import { TLS_OPTIONS } from "./channel.ts";
import type { TlsIdentity } from "./identity.ts";
import type { KeyService } from "./key-service.ts";
import type { OperatorService } from "./operator-service.ts";
import { type Peer, readPeer } from "./peer.ts";
import { MAX_MESSAGE_BYTES } from "./request-form.ts";

/** Told of what was no fault of a caller's. */
export type ReportDefect = (request: string, error: unknown) => void;

/** One peer may have this part of all connections. */
const PART_OF_ONE_PEER = 1 / 4;
/** A signed policy, and room around it; only root sends any. */
const MAX_OPERATOR_MESSAGE_BYTES = 4 * 1024 * 1024;
const CLOSE_GRACE_MS = 2_000;

const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_concurrent_streams": 16,
  "grpc.max_connection_idle_ms": 10 * 60_000,
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc-node.max_session_memory": 4,
};

export interface Door {
  /** "host:port", or the socket's path. */
  readonly address: string;
  close(): Promise<void>;
}

/** What nodes may ask. */
export type NodeService = Pick<KeyService, "challenge" | "unseal" | "commit" | "enrol" | "renew" | "release">;

/** @param listen "host:port"; port 0 takes a free one */
export async function openNodeDoor(
  listen: string,
  identity: TlsIdentity,
  connections: number,
  service: NodeService,
  report: ReportDefect,
): Promise<Door> {
  const grpc = new Server(SERVER_OPTIONS);
  const handle = <Request, Response>(
    name: string,
    answer: (request: Request, peer: Peer) => Promise<Response>,
  ): handleUnaryCall<Request, Response> =>
    unary(name, report, (request, call) =>
      answer(request, readPeer(call.getAuthContext().sslPeerCertificate?.raw, call.getPeer())),
    );
  grpc.addService(KmsService, {
    challenge: handle("challenge", service.challenge.bind(service)),
    unseal: handle("unseal", service.unseal.bind(service)),
    commit: handle("commit", service.commit.bind(service)),
    enrol: handle("enrol", service.enrol.bind(service)),
    renew: handle("renew", service.renew.bind(service)),
    release: handle("release", service.release.bind(service)),
  });
  const colon = listen.lastIndexOf(":");
  try {
    const door = await openTlsDoor({
      grpc,
      host: listen.slice(0, colon).replace(/^\[(.*)\]$/, "$1"),
      port: Number(listen.slice(colon + 1)),
      tls: {
        ...TLS_OPTIONS,
        key: identity.privateKey,
        cert: identity.certificate,
        requestCert: true,
        // Nodes certify themselves: OpenSSL proves that they hold the key, and more is not asked of the certificate.
        rejectUnauthorized: false,
      },
      connections,
      perPeer: Math.ceil(connections * PART_OF_ONE_PEER),
      admit: (socket) => {
        // grpc-js shows a peer's certificate only of sockets that are "authorized". What we authorize here is the key.
        socket.authorized = socket.getPeerX509Certificate() !== undefined;
        return socket.authorized;
      },
      graceMs: CLOSE_GRACE_MS,
    });
    const { family, address, port } = door.address;
    return {
      address: `${family === "IPv6" ? `[${address}]` : address}:${port}`,
      close: () => door.close(),
    };
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", `The KMS cannot listen on ${listen}: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

/** The directory around the socket is root's alone (`directory.ts`), so there is no moment at which others may enter. */
export async function openOperatorDoor(
  path: string,
  service: OperatorService,
  report: ReportDefect,
): Promise<Door> {
  const grpc = new Server({
    ...SERVER_OPTIONS,
    "grpc.max_receive_message_length": MAX_OPERATOR_MESSAGE_BYTES,
  });
  const handle = <Request, Response>(
    name: string,
    answer: (request: Request) => Promise<Response>,
  ): handleUnaryCall<Request, Response> => unary(name, report, answer);
  grpc.addService(OperatorDefinition, {
    getCluster: handle("getCluster", service.getCluster.bind(service)),
    addNode: handle("addNode", service.addNode.bind(service)),
    reissueNode: handle("reissueNode", service.reissueNode.bind(service)),
    listNodes: handle("listNodes", service.listNodes.bind(service)),
    removeNode: handle("removeNode", service.removeNode.bind(service)),
    releaseNode: handle("releaseNode", service.releaseNode.bind(service)),
    resetDisk: handle("resetDisk", service.resetDisk.bind(service)),
    applyPolicy: handle("applyPolicy", service.applyPolicy.bind(service)),
    getPolicy: handle("getPolicy", service.getPolicy.bind(service)),
    listAudit: handle("listAudit", service.listAudit.bind(service)),
  });
  // Left over from a KMS that was killed: the database's lock has shown that none is running.
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    grpc.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(new SealetError("CONFIG_INVALID", `${path}: ${error.message}`, { cause: error }));
    });
  });
  chmodSync(path, 0o600);
  return { address: path, close: () => shutDown(grpc, CLOSE_GRACE_MS) };
}

type UnaryCall<Request> = Parameters<handleUnaryCall<Request, unknown>>[0];

function unary<Request, Response>(
  name: string,
  report: ReportDefect,
  answer: (request: Request, call: UnaryCall<Request>) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  const run = async (call: UnaryCall<Request>, callback: sendUnaryData<Response>): Promise<void> => {
    try {
      callback(null, await answer(call.request, call));
    } catch (thrown) {
      const defect = !(thrown instanceof SealetError) || DEFECTS.has(thrown.code);
      if (defect) report(name, thrown);
      callback(toStatus(thrown));
    }
  };
  return (call, callback) => void run(call, callback);
}

const DEFECTS: ReadonlySet<string> = new Set(["INTERNAL", "AUDIT_FAILED", "STORE_FAILED"]);
