/** kubelet's own word on its health, on the loopback. */
import { get } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { SealetError, reasonOf } from "../error.ts";
import { HEALTH_PORT } from "./configuration.ts";

const POLL = 100;

/** @returns when it is healthy @throws KUBELET_UNHEALTHY when the signal ends the waiting */
export async function untilHealthy(signal: AbortSignal, port: number = HEALTH_PORT): Promise<void> {
  let last = "it did not answer";
  for (;;) {
    try {
      const answer = await healthOf(port, signal);
      if (answer === "ok") return;
      last = answer;
      await delay(POLL, undefined, { signal });
    } catch (cause) {
      if (signal.aborted)
        throw new SealetError("KUBELET_UNHEALTHY", `kubelet is not healthy: ${last}`, { cause });
      last = reasonOf(cause);
      await delay(POLL);
    }
  }
}

function healthOf(port: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path: "/healthz", agent: false, signal, timeout: 2000 };
    const call = get(options, (response) => {
      response.resume();
      response.once("end", () => resolve(response.statusCode === 200 ? "ok" : `HTTP ${response.statusCode}`));
      response.once("error", reject);
    });
    call.once("timeout", () => call.destroy(new Error("it did not answer in 2 s")));
    call.once("error", reject);
  });
}
