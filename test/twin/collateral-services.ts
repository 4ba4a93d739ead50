/**
 * AMD's key distribution service and Intel's provisioning certification service as twins on a local port: they serve what
 * they are given under the services' own paths, count what they are asked, and fail on demand.
 */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TdxCollateral } from "../../agent/attest/tdx/verify.ts";

export interface Served {
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is answered in the place of what is served; undefined: nothing in its place. */
export type Fault = (
  path: string,
  nth: number,
) => { readonly status: number; readonly retryAfter?: number } | "reset" | "hang" | undefined;

export class CollateralServices {
  /** By path and query. */
  readonly served = new Map<string, Served>();
  readonly asked: string[] = [];
  fault: Fault = () => undefined;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<CollateralServices> {
    const server = createServer();
    const services = new CollateralServices(server);
    server.on("request", (request: IncomingMessage, response: ServerResponse) =>
      services.#answer(request, response),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return services;
  }

  get url(): string {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Serves what is judged with on platforms of this FMSPC, of the Platform CA. */
  serveIntel(fmspc: string, { tcbInfo, qeIdentity, rootCrl, pckCrl }: TdxCollateral): void {
    const info = tcbInfo.get(fmspc);
    assert.ok(info && qeIdentity && rootCrl && pckCrl.platform);
    const chain = encodeURIComponent(new TextDecoder().decode(info.issuerChain));
    const documents = [
      [`/tdx/certification/v4/tcb?fmspc=${fmspc}`, info.body, "TCB-Info-Issuer-Chain"],
      ["/tdx/certification/v4/qe/identity", qeIdentity.body, "SGX-Enclave-Identity-Issuer-Chain"],
    ] as const;
    for (const [path, body, header] of documents)
      this.served.set(path, { body, headers: { [header]: chain } });
    this.served.set("/sgx/certification/v4/pckcrl?ca=platform&encoding=der", { body: pckCrl.platform });
    this.served.set("/IntelSGXRootCA.der", { body: rootCrl });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "";
    this.asked.push(path);
    const fault = this.fault(path, this.asked.filter((other) => other === path).length);
    if (fault === "hang") return;
    if (fault === "reset") {
      request.socket.destroy();
      return;
    }
    if (fault !== undefined) {
      response.writeHead(
        fault.status,
        fault.retryAfter === undefined ? {} : { "Retry-After": String(fault.retryAfter) },
      );
      response.end();
      return;
    }
    const served = this.served.get(path);
    response.writeHead(served === undefined ? 404 : 200, served?.headers ?? {});
    response.end(served?.body);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
