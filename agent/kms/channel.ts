/**
 * The TLS channel between node and KMS: TLS 1.3 with X25519MLKEM768 and nothing else, both sides known by their keys.
 * The client's half is here (the pin is checked before the first byte of a request goes out), the server's in
 * `listener.ts`.
 */
import { timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import { type ConnectionOptions, type SecureContextOptions, type TLSSocket, connect } from "node:tls";
import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";
import { SealetError } from "../error.ts";
import { type TlsIdentity, spkiDigest } from "./identity.ts";

/** Protocol versions that this code speaks. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];

/** No KMS gives a longer lease, and no node takes one. */
export const MAX_LEASE_MS = 86_400_000;

export const TLS_OPTIONS = {
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  ecdhCurve: "X25519MLKEM768",
  ALPNProtocols: ["h2"],
} as const satisfies Pick<ConnectionOptions, keyof SecureContextOptions | "ALPNProtocols">;

const HANDSHAKE_TIMEOUT_MS = 10_000;

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** gRPC credentials that accept a server by the SHA-256 of its SPKI alone. */
export class PinnedCredentials extends ChannelCredentials {
  readonly #identity: TlsIdentity;
  readonly #pin: Uint8Array;
  /** The server's SPKI (DER), once a connection stood. */
  serverSpki: Buffer | undefined;
  /** Set when the last server had another key than the pinned one: gRPC itself only says "unavailable". */
  refusal: SealetError | undefined;

  constructor(identity: TlsIdentity, pin: Uint8Array) {
    super();
    this.#identity = identity;
    this.#pin = pin;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(): SecureConnector {
    const ended = new AbortController();
    return {
      connect: async (socket) => ({ socket: await this.#handshake(socket, ended.signal), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => ended.abort(),
    };
  }

  /** gRPC forgets a socket whose handshake it no longer waits for: it is ended here, also by who never answers. */
  #handshake(socket: Socket, ended: AbortSignal): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const { privateKey, certificate } = this.#identity;
      const tls = connect({
        ...TLS_OPTIONS,
        socket,
        key: privateKey,
        cert: certificate,
        // Chain and name say nothing here: the pin below does.
        rejectUnauthorized: false,
      });
      const abort = () => tls.destroy();
      const late = setTimeout(abort, HANDSHAKE_TIMEOUT_MS);
      ended.addEventListener("abort", abort, { once: true });
      tls.once("close", () => {
        clearTimeout(late);
        reject(new SealetError("KMS_UNREACHABLE", "The KMS closed the connection during the handshake"));
      });
      tls.on("error", reject);
      tls.once("secureConnect", () => {
        clearTimeout(late);
        ended.removeEventListener("abort", abort);
        const spki = peerSpki(tls);
        const found = spki === undefined ? undefined : spkiDigest(spki);
        if (spki === undefined || found === undefined || !timingSafeEqual(found, this.#pin)) {
          this.refusal = new SealetError("KMS_UNTRUSTED", "The server's key is not the one that is pinned", {
            expected: Buffer.from(this.#pin).toString("hex"),
            found: found?.toString("hex") ?? "no certificate",
          });
          tls.destroy();
          reject(this.refusal);
          return;
        }
        this.refusal = undefined;
        this.serverSpki = spki;
        resolve(tls);
      });
    });
  }
}

/** The key that the peer proved to hold (RFC 8446 §4.4.3), or undefined without a certificate. */
function peerSpki(socket: TLSSocket): Buffer | undefined {
  return socket.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "der" });
}
