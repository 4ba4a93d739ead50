/**
 * GET, as AMD's and Intel's services need it: a size limit, a time limit, an optional proxy, no redirects. What comes back
 * is signed and judged elsewhere; nothing here trusts it.
 */
import { Agent as HttpAgent, get as httpGet, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, get as httpsGet } from "node:https";
import { SealetError, reasonOf } from "../error.ts";

export interface Answer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export type Get = (url: URL, signal: AbortSignal) => Promise<Answer>;

export interface HttpOptions {
  /** `http://host:port`, of a proxy that speaks CONNECT. */
  readonly proxy?: string | undefined;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

const MAX_BYTES = 2 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

/** @returns a function that throws COLLATERAL_UNAVAILABLE, TIMEOUT or CANCELLED */
export function httpClient({ proxy, maxBytes = MAX_BYTES, timeoutMs = TIMEOUT_MS }: HttpOptions = {}): Get {
  const proxied = proxy === undefined ? {} : { proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } };
  const http = new HttpAgent({ keepAlive: true, maxSockets: 2, ...proxied });
  const https = new HttpsAgent({ keepAlive: true, maxSockets: 2, minVersion: "TLSv1.2", ...proxied });

  return async (url, signal) => {
    const timeout = AbortSignal.timeout(timeoutMs);
    const either = AbortSignal.any([signal, timeout]);
    try {
      either.throwIfAborted();
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const options = { signal: either, headers: { accept: "*/*" } };
        const request =
          url.protocol === "https:"
            ? httpsGet(url, { agent: https, ...options }, resolve)
            : httpGet(url, { agent: http, ...options }, resolve);
        request.on("error", reject);
      });
      return {
        status: response.statusCode ?? 0,
        headers: headersOf(response),
        body: await read(response, maxBytes, url),
      };
    } catch (cause) {
      if (cause instanceof SealetError) throw cause;
      if (signal.aborted) throw new SealetError("CANCELLED", `Stopped while asking ${url.host}`, { cause });
      if (timeout.aborted)
        throw new SealetError("TIMEOUT", `${url.host} did not answer within ${timeoutMs} ms`, { cause });
      throw new SealetError("COLLATERAL_UNAVAILABLE", `${url.host} was not reached: ${reasonOf(cause)}`, {
        cause,
      });
    }
  };
}

function headersOf(response: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(response.headers).flatMap(([name, value]) =>
      typeof value === "string" ? [[name, value]] : [],
    ),
  );
}

async function read(response: IncomingMessage, maxBytes: number, url: URL): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    if (!(chunk instanceof Buffer)) continue;
    size += chunk.length;
    if (size > maxBytes) {
      response.destroy();
      throw new SealetError("COLLATERAL_INVALID", `${url.host} answered more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
