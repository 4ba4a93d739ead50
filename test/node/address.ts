/**
 * The host's address for what every user-mode Linux guest has to reach: KMS and API server. It is one address whatever
 * wire a guest is at, so a node's initdata, which names the KMS, holds for each of its boots.
 */
import { spawnSync } from "node:child_process";
import { networkInterfaces } from "node:os";

export const HOST_ADDRESS = "10.213.255.1";

/** Gives the host the address, on its loopback device. Needs root. */
export function ensureHostAddress(): void {
  const there = () =>
    Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === HOST_ADDRESS));
  if (there()) return;
  const args = ["addr", "add", `${HOST_ADDRESS}/32`, "dev", "lo"];
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  // another process may have been faster
  if (status !== 0 && !there()) throw new Error(`the host got no address for guests: ${stderr}`);
}
