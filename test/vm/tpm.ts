/** A software TPM 2.0 for a machine. Its state stays in the machine's folder. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SetupError } from "../../image/command.ts";
import { inTools } from "../../image/tools.ts";
import type { Beside } from "./port.ts";

export async function startTpm(tools: string, folder: string): Promise<Beside> {
  const state = join(folder, "tpm");
  mkdirSync(state, { recursive: true });
  const socket = join(folder, "tpm.sock");
  const [program, args] = inTools(tools, { binds: [folder] }, "swtpm", [
    ...["socket", "--tpm2", "--terminate", "--tpmstate", `dir=${state}`],
    ...["--ctrl", `type=unixio,path=${socket}`],
  ]);
  const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...args], { stdio: "ignore" });
  for (let tries = 0; !existsSync(socket); tries += 1) {
    if (tries > 100 || child.exitCode !== null) throw new SetupError("swtpm could not be started");
    await sleep(50);
  }
  return {
    args: [
      ...["-chardev", `socket,id=tpm,path=${socket}`],
      ...["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"],
    ],
    stop: () => {
      child.kill("SIGTERM");
    },
  };
}
