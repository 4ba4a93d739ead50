/**
 * `node main.ts CONFIG.json`: makes this machine look like a confidential VM to everything that asks the kernel: real
 * device files and a real configfs, with evidence under the twin's own root. For tests only; no image of a release has
 * it, and only a policy that names its root accepts what it says. Prints `twin: ready`; ends on SIGTERM.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { configSchema, type TwinConfig } from "./config.ts";
import { mountTsm } from "./configfs-tsm.ts";
import { serveControl } from "./control.ts";
import { serveDevice } from "./cuse.ts";
import { Faults } from "./faults.ts";
import { sevGuestDevice } from "./sev-guest.ts";
import { SnpDriver } from "./snp-driver.ts";
import { TdxModule, tdxGuestDevice } from "./tdx-guest.ts";
import { snpProvider, tdxProvider } from "./tsm-reports.ts";

interface Closable {
  close(): unknown;
}

async function serve(config: TwinConfig): Promise<Closable[]> {
  const faults = new Faults();
  for (const fault of config.faults) faults.add(fault, 1);
  const closing: Closable[] = [];
  const has = (what: TwinConfig["interfaces"][number]): boolean => config.interfaces.includes(what);
  let tee: SnpDriver | TdxModule;
  if (config.tee === "sev-snp") {
    const snp = new SnpDriver(config, faults);
    if (has("device")) closing.push(await serveDevice("sev-guest", sevGuestDevice(snp)));
    if (has("configfs-tsm")) closing.push(await mountTsm(config.configfs, snpProvider(snp)));
    tee = snp;
  } else {
    const tdx = new TdxModule(config, faults);
    if (has("device")) closing.push(await serveDevice("tdx_guest", tdxGuestDevice(tdx)));
    if (has("configfs-tsm")) closing.push(await mountTsm(config.configfs, tdxProvider(tdx)));
    tee = tdx;
  }
  const { control } = config;
  if (control === undefined) return closing;
  mkdirSync(dirname(control), { recursive: true });
  const server = await serveControl(control, (order) => {
    if (order.order === "fault") faults.add(order.fault, order.times);
    if (order.order === "reboot") {
      faults.clear();
      tee.reboot({ ...tee.machine, ...order.machine });
    }
    return { ...tee.state, waitingFaults: faults.waiting };
  });
  return [...closing, server];
}

async function main(): Promise<void> {
  const [, , path = ""] = process.argv;
  const config = configSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  const closing = await serve(config);
  process.once("SIGTERM", () => {
    void (async () => {
      for (const part of closing.toReversed()) await part.close();
      process.exit(0);
    })();
  });
  console.log("twin: ready");
  if (process.env["NOTIFY_SOCKET"] !== undefined) spawn("systemd-notify", ["--ready"], { stdio: "inherit" });
}

void main();
