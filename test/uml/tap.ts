/**
 * A wire between the host and one guest: a tap device with an address of its own /30 network. Guests reach one another
 * through the host, as far as it forwards. Needs root.
 */
import { spawnSync } from "node:child_process";
import { networkInterfaces } from "node:os";

export interface Tap {
  readonly device: string;
  readonly hostAddress: string;
  readonly guestAddress: string;
  /** The kernel parameter that attaches the guest. */
  readonly parameter: string;
  /** What sets the interface up inside the guest. */
  readonly commands: readonly string[];
  [Symbol.dispose](): void;
}

function ip(...args: string[]): boolean {
  return spawnSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] }).status === 0;
}

/** Takes the first free one of 64 wires. */
export function openTap(): Tap {
  for (let index = 0; index < 64; index++) {
    const device = `sealet${index}`;
    if (networkInterfaces()[device] !== undefined || !ip("tuntap", "add", "dev", device, "mode", "tap"))
      continue;
    const [hostAddress, guestAddress] = [`10.213.${index}.1`, `10.213.${index}.2`];
    if (!ip("addr", "add", `${hostAddress}/30`, "dev", device) || !ip("link", "set", device, "up")) {
      ip("link", "del", device);
      throw new Error(`the host gave ${device} no address`);
    }
    const mac = `52:54:00:5e:a1:${index.toString(16).padStart(2, "0")}`;
    return {
      device,
      hostAddress,
      guestAddress,
      parameter: `vec0:transport=tap,ifname=${device},depth=64,gro=1,mac=${mac}`,
      commands: [
        `ip addr add ${guestAddress}/30 dev vec0`,
        "ip link set vec0 up",
        `ip route add default via ${hostAddress}`,
      ],
      [Symbol.dispose]() {
        ip("link", "del", device);
      },
    };
  }
  throw new Error("no free tap device: this needs root and /dev/net/tun");
}
