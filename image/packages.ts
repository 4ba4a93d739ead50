/** The few programs that set-up needs from the host's distribution (Debian or Ubuntu). */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "./artefact.ts";
import { command, SetupError } from "./command.ts";
import { spawnSync } from "node:child_process";
import { say } from "./progress.ts";

let updated = false;

function installed(name: string): boolean {
  const query = spawnSync("dpkg-query", ["-W", "-f", "${db:Status-Status}", name], { encoding: "utf8" });
  return query.status === 0 && query.stdout === "installed";
}

/** Installs those of the Debian packages that are not there. @throws SetupError without root, apt or network */
export async function hostPackages(...names: readonly string[]): Promise<void> {
  const missing = names.filter((name) => !installed(name));
  if (missing.length === 0) return;
  if (!existsSync("/usr/bin/apt-get"))
    throw new SetupError(`Set-up runs on Debian or Ubuntu. Here install by hand: ${missing.join(", ")}.`);
  if (process.getuid?.() !== 0)
    throw new SetupError(
      `These packages are missing: ${missing.join(", ")}. Install them, or run this as root.`,
    );
  mkdirSync(cacheFolder, { recursive: true });
  const log = join(cacheFolder, "apt.log");
  const options = {
    log,
    env: { DEBIAN_FRONTEND: "noninteractive" },
    hint: "Set-up installs Debian packages: check the network and the sources of apt.",
  };
  say(`installing ${missing.join(", ")}`);
  if (!updated) await command("apt-get", ["update", "-q"], { ...options, label: "apt-get update" });
  updated = true;
  // another set-up on this machine may be installing
  const lock = ["-o", "DPkg::Lock::Timeout=300"];
  await command("apt-get", ["install", "-q", "-y", "--no-install-recommends", ...lock, ...missing], {
    ...options,
    label: "apt-get install",
  });
}
