/** Whether KVM really runs a kernel here: on some machines /dev/kvm opens, but nothing boots on it. */
import { spawn } from "node:child_process";
import { accessSync, constants, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { cacheFolder } from "../../image/artefact.ts";
import { inTools } from "../../image/tools.ts";

const accelerators = z.enum(["kvm", "tcg"]);
export type Accelerator = z.infer<typeof accelerators>;
const found = z.object({ boot: z.string(), accelerator: accelerators });

/** Found out once for each boot of this host. */
export async function accelerator(tools: string): Promise<Accelerator> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return "tcg";
  }
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const note = join(cacheFolder, "accelerator.json");
  try {
    const known = found.parse(JSON.parse(readFileSync(note, "utf8")));
    if (known.boot === boot) return known.accelerator;
  } catch {
    // not found out yet
  }
  const works: Accelerator = (await firmwareSpeaks(tools)) ? "kvm" : "tcg";
  writeFileSync(note, JSON.stringify({ boot, accelerator: works }));
  return works;
}

/** SeaBIOS says its name on its debug port at once where virtual machines run at all. */
async function firmwareSpeaks(tools: string): Promise<boolean> {
  const [program, args] = inTools(tools, {}, "qemu-system-x86_64", [
    ...["-nodefaults", "-display", "none", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "128"],
    ...["-chardev", "stdio,id=debug", "-device", "isa-debugcon,iobase=0x402,chardev=debug"],
  ]);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
  const heard = await new Promise<boolean>((resolve) => {
    let text = "";
    child.stdout.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      if (/Booting from|No bootable device/u.test(text)) resolve(true);
    });
    child.once("exit", () => {
      resolve(false);
    });
    setTimeout(() => {
      resolve(false);
    }, 5000).unref();
  });
  child.kill("SIGKILL");
  return heard;
}
