/** A headless Chromium (Debian's package) that runs one script in a page of localhost, a secure context. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostPackages } from "../../image/packages.ts";

const CHROMIUM = "/usr/bin/chromium";
const TIMEOUT = 120_000;

/**
 * @param questions text that the page gets from `/questions`
 * @returns the text that it posts to `/answers`
 */
export async function inChromium(script: string, questions: string): Promise<string> {
  await hostPackages("chromium");
  const { promise: answered, resolve, reject } = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    if (request.url === "/answers") {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        response.end();
        resolve(Buffer.concat(parts).toString("utf8"));
      });
    } else if (request.url === "/questions") response.end(questions);
    else if (request.url === "/script.js") {
      response.setHeader("content-type", "text/javascript; charset=utf-8");
      response.end(script);
    } else {
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end('<!doctype html><script src="/script.js"></script>');
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const home = mkdtempSync(join(tmpdir(), "sealet-chromium-"));
  const browser = spawn(
    CHROMIUM,
    [
      "--headless",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--disable-extensions",
      "--disable-background-networking",
      "--disable-component-update",
      "--no-first-run",
      // its sandbox does not start as root; the page is our own
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      `--user-data-dir=${home}`,
      `http://localhost:${port}/`,
    ],
    { detached: true, env: { HOME: home, PATH: "/usr/bin:/bin" }, stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  browser.stderr.on("data", (part: Buffer) => (log = `${log}${part.toString("utf8")}`.slice(-4000)));
  const ended = new Promise<void>((done) => browser.once("close", () => done()));
  const failed = (what: string): void => reject(new Error(`Chromium ${what}: ${log}`));
  browser.once("error", ({ message }) => failed(`does not start (${message})`));
  browser.once("exit", (code) => failed(`ended (exit ${code}) before the page answered`));
  const timer = setTimeout(() => failed(`did not answer in ${TIMEOUT / 1000} s`), TIMEOUT);
  try {
    return await answered;
  } finally {
    clearTimeout(timer);
    // its helpers are of its process group
    if (browser.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, "SIGKILL");
    if (browser.pid !== undefined) await ended;
    server.closeAllConnections();
    server.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
}
