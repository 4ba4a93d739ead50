/** Servers that a cluster is made of: started with a log file, ended with whoever started them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, closeSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { tail } from "../../image/progress.ts";

export interface Server {
  readonly name: string;
  readonly pid: number;
  /** Ended already? */
  readonly ended: () => boolean;
  readonly log: string;
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>;
}

export interface ServerOptions {
  readonly log: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program that runs until it is stopped; the kernel ends it should this process die. */
export function startServer(
  name: string,
  command: readonly [string, ...string[]],
  options: ServerOptions,
): Server {
  const out = openSync(options.log, "a");
  const [program, ...args] = command;
  const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...args], {
    stdio: ["ignore", out, out],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...options.env },
  });
  closeSync(out);
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  return {
    name,
    pid: child.pid ?? 0,
    ended,
    log: options.log,
    stop: async (signal = "SIGTERM") => {
      if (ended()) return;
      const exit = once(child, "exit");
      child.kill(signal);
      const hard = setTimeout(() => child.kill("SIGKILL"), 5000);
      await exit;
      clearTimeout(hard);
    },
  };
}

/** Asks until the answer is yes. @throws with the end of the server's log */
export async function until(server: Server, ask: () => Promise<boolean>, seconds: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await ask().catch(() => false))) {
    const why = server.ended() ? "ended" : `is not ready after ${seconds} s`;
    if (server.ended() || performance.now() > deadline)
      throw new Error([`${server.name} ${why}. Its last lines:`, ...tail(server.log, 10)].join("\n    "));
    await sleep(50);
  }
}

/** A TCP port that nobody uses. */
export async function freePort(address = "127.0.0.1"): Promise<number> {
  const server = createServer();
  server.listen(0, address);
  await once(server, "listening");
  const bound = server.address();
  server.close();
  await once(server, "close");
  if (bound === null || typeof bound === "string") throw new Error("no TCP port");
  return bound.port;
}
