/** A node of a cluster as a virtual machine: its disks, its twin, its boots. */
import { copyFileSync, mkdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Flavour, type Image, nodeImage } from "../../image/image.ts";
import { toolsTree } from "../../image/tools.ts";
import type { TestCluster } from "../cluster/cluster.ts";
import { twinMeasurement } from "../cluster/kms.ts";
import { type Machine, powerOn } from "./machine.ts";
import { NODE_API_PORT } from "./node-api.ts";
import { type Launch, twinPort } from "./twin.ts";
import { twinDisk } from "./twin-disk.ts";

/** What is initialised in the background takes its time where nothing is accelerated. */
const STATE_BYTES = 2 * 2 ** 30;
const KUBELET_PORT = 10_250;

/** Everything that is built before a machine can be powered on. */
export interface Parts {
  readonly tools: string;
  readonly image: Image;
  readonly twin: string;
  /** What a launch of the image measures. */
  readonly measurement: string;
}

export async function machineParts(flavour: Flavour): Promise<Parts> {
  const [tools, image, twin] = [await toolsTree(), await nodeImage(flavour), await twinDisk()];
  return { tools, image, twin, measurement: twinMeasurement(image.uki) };
}

export interface VmNode {
  readonly name: string;
  readonly folder: string;
  /** The state disk. */
  readonly state: string;
  /** The address of this host at which the node's kubelet is. */
  readonly address: string;
  readonly boot: (options?: BootOptions) => Promise<Machine>;
}

interface BootOptions {
  /** What the machine's launch says other than usual. */
  readonly launch?: Partial<Launch>;
  /** Another disk in the place of the node's own. */
  readonly state?: string;
  /** Another disk in the place of the image's. */
  readonly image?: string;
  /** Another machine with this node's disks: where its own files go. */
  readonly folder?: string;
  readonly withTwin?: boolean;
  readonly timeoutSeconds?: number;
  readonly tpm?: boolean;
  readonly host?: readonly string[];
}

let machines = 0;

/** Registers a node at the KMS and lays its machine out in a folder. */
export async function vmNode(
  cluster: TestCluster,
  parts: Parts,
  name: string,
  folder: string,
): Promise<VmNode> {
  mkdirSync(folder, { recursive: true });
  const { file, hostData } = await cluster.addNode(name);
  const initdata = join(folder, "initdata.raw");
  copyFileSync(file, initdata);
  // a virtual disk has whole sectors
  truncateSync(initdata, Math.ceil(statSync(initdata).size / 4096) * 4096);
  const state = join(folder, "state.raw");
  writeFileSync(state, "");
  truncateSync(state, STATE_BYTES);
  // its own address, for kubelet's port is the same everywhere
  const address = `127.${1 + (process.pid % 200)}.${(process.pid >> 8) & 255}.${(machines += 1)}`;
  cluster.controlPlane.locate(name, address);
  return {
    name,
    folder,
    state,
    address,
    boot: async (options = {}) => {
      const own = options.folder ?? folder;
      mkdirSync(own, { recursive: true });
      const launch = { measurement: parts.measurement, hostData, chip: name, ...options.launch };
      const twin = options.withTwin !== false;
      return powerOn({
        tools: parts.tools,
        folder: own,
        name,
        boot: options.image ?? parts.image.disk,
        disks: [
          { serial: "initdata", file: initdata, readonly: true },
          { serial: "state", file: options.state ?? state },
          ...(twin ? [{ serial: "twin", file: parts.twin, readonly: true }] : []),
        ],
        ports: twin ? [await twinPort(launch)] : [],
        // the node's address leads to one machine only
        forwards: (own === folder ? [KUBELET_PORT, NODE_API_PORT] : []).map((port) => ({
          host: `${address}:${port}`,
          guest: port,
        })),
        journal: true,
        timeoutSeconds: options.timeoutSeconds ?? 180,
        ...(options.tpm === undefined ? {} : { tpm: options.tpm }),
        ...(options.host === undefined ? {} : { host: options.host }),
      });
    },
  };
}
