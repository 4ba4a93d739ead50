/**
 * The twin of a virtual machine. It runs on this host, as hardware is beside a guest and not in it: what the guest's
 * kernel asks comes over a virtio port, from the relay on the disk `twin` (relay/main.go).
 */
import type { Socket } from "node:net";
import { configSchema } from "../twin/config.ts";
import { twinCaFolder } from "../twin/ca-folder.ts";
import { serveConnection } from "../twin/cuse.ts";
import { Faults } from "../twin/faults.ts";
import type { Connection } from "../twin/fuse-protocol.ts";
import { sevGuestDevice } from "../twin/sev-guest.ts";
import { SnpDriver } from "../twin/snp-driver.ts";
import type { Port } from "./port.ts";

export interface Launch {
  /** What the launch measured; hex, 48 bytes. */
  readonly measurement: string;
  /** SHA-256 of the initdata; hex. */
  readonly hostData: string;
  /** SNP's guest policy; default: one that forbids debugging. */
  readonly policy?: string;
  /** Two machines with the same chip are the same machine. */
  readonly chip?: string;
}

/** The port of a machine that was launched so. */
export async function twinPort({ measurement, hostData, policy, chip }: Launch): Promise<Port> {
  const config = configSchema.parse({
    tee: "sev-snp",
    product: "Genoa",
    ca: await twinCaFolder(),
    ...(chip === undefined ? {} : { chip }),
    machine: { measurement, hostData, ...(policy === undefined ? {} : { policy }) },
  });
  const device = sevGuestDevice(new SnpDriver(config, new Faults()));
  return {
    name: "sealet-twin",
    serve: (stream) => void serveConnection(relayed(stream), "sev-guest", device),
  };
}

const LENGTH = 4;

/** A kernel's messages one after another, each of which begins with its length. */
function relayed(stream: Socket): Connection {
  return {
    start(receive) {
      let rest: Buffer = Buffer.alloc(0);
      stream.on("data", (bytes: Buffer) => {
        rest = Buffer.concat([rest, bytes]);
        while (rest.length >= LENGTH && rest.length >= rest.readUInt32LE(0)) {
          const length = rest.readUInt32LE(0);
          receive(rest.subarray(0, length));
          rest = rest.subarray(length);
        }
      });
    },
    send(message) {
      stream.write(message);
    },
  };
}
