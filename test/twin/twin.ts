/** Starts the twin beside a test, as a process of its own: what it serves is then really asked over the kernel. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TwinConfigFile } from "./config.ts";
import { TwinControl } from "./control.ts";

export interface Twin extends AsyncDisposable {
  readonly control: TwinControl;
}

/** Only inside a guest, as root. The CA's folder comes from the runner (SEALET_TWIN_CA). */
export async function startTwin(config: Omit<TwinConfigFile, "ca" | "control">): Promise<Twin> {
  const folder = mkdtempSync(join(tmpdir(), "twin-"));
  const control = join(folder, "control");
  const file: TwinConfigFile = { ...config, ca: process.env["SEALET_TWIN_CA"] ?? folder, control };
  writeFileSync(join(folder, "config.json"), JSON.stringify(file));
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), join(folder, "config.json")], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
  });
  const exited = once(child, "exit");
  const ready = (async () => {
    for await (const line of createInterface(child.stdout)) if (line === "twin: ready") return true;
    return false;
  })();
  if (!(await ready)) throw new Error("the twin did not start");
  child.stdout.resume();
  return {
    control: new TwinControl(control),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}
