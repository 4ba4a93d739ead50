/**
 * A whole cluster but for its nodes: control plane and KMS on this machine, for the scenarios in QEMU and in user-mode
 * Linux, and for `npm start`.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Policy } from "../../agent/attest/policy.ts";
import { strictPolicy } from "../attest/snp/policies.ts";
import { amdCa, type AmdCa } from "../twin/amd-ca.ts";
import { twinCaFolder } from "../twin/ca-folder.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { type NodeInitdata, startTestKms, type TestKms } from "./kms.ts";

export interface ClusterOptions {
  /** Everything goes below it. */
  readonly folder: string;
  /** The launch measurements that the policy accepts; hex, 48 bytes. */
  readonly measurements: readonly string[];
  /** Where the servers listen, and under which addresses nodes find them; default: QEMU's user network. */
  readonly bind?: string;
  readonly addresses?: readonly string[];
  readonly leaseSeconds?: number;
}

export interface TestCluster {
  readonly twin: AmdCa;
  readonly kms: TestKms;
  readonly controlPlane: ControlPlane;
  readonly kubectl: ControlPlane["kubectl"];
  /** Registers a node; what its machine is to be given. */
  readonly addNode: (name: string) => Promise<NodeInitdata>;
  /** Waits until the API server calls the node Ready. */
  readonly nodeReady: (name: string, seconds: number) => Promise<void>;
  /** Waits until a pod is in a phase. */
  readonly podPhase: (name: string, phase: string, seconds: number) => Promise<void>;
  /** Asks twice a second until something holds. @throws after the time */
  readonly eventually: (what: string, seconds: number, holds: () => Promise<boolean>) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Everything is checked, with the twin's root. */
function twinPolicy(twin: AmdCa, version: number, measurements: readonly string[]): Policy {
  const policy = strictPolicy(twin, (snp) => ({ ...snp, measurement: { anyOf: [...measurements] } }));
  return { ...policy, version };
}

export async function startCluster(options: ClusterOptions): Promise<TestCluster> {
  const { folder } = options;
  const bind = options.bind ?? "127.0.0.1";
  const addresses = options.addresses ?? ["10.0.2.2"];
  const twin = amdCa("Genoa", await twinCaFolder());
  const cluster = "sealet";
  const controlPlane = await startControlPlane({
    folder: join(folder, "kubernetes"),
    cluster,
    bind,
    addresses,
  });
  const kms = await startTestKms({
    folder: join(folder, "kms"),
    cluster,
    bind,
    addresses,
    apiServer: `https://${addresses[0] ?? bind}:${controlPlane.port}`,
    authority: controlPlane.authority,
    twin,
    policy: twinPolicy(twin, 1, options.measurements),
    leaseSeconds: options.leaseSeconds ?? 300,
  });
  const { kubectl } = controlPlane;
  return {
    twin,
    kms,
    controlPlane,
    kubectl,
    addNode: (name) => kms.addNode(name),
    nodeReady: (name, seconds) => {
      const path = '{.status.conditions[?(@.type=="Ready")].status}';
      return eventually(`node ${name} Ready`, seconds, async () => {
        return (
          (await kubectl("get", "node", name, "--ignore-not-found", "-o", `jsonpath=${path}`)) === "True"
        );
      });
    },
    podPhase: (name, phase, seconds) =>
      eventually(`pod ${name} ${phase}`, seconds, async () => {
        return (
          (await kubectl("get", "pod", name, "--ignore-not-found", "-o", "jsonpath={.status.phase}")) ===
          phase
        );
      }),
    eventually,
    stop: async () => {
      await kms.stop();
      for (const server of controlPlane.servers) await server.stop();
    },
  };
}

/** What fails may hold a moment later: a pod that is not there yet has no log. */
async function eventually(what: string, seconds: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    let cause: unknown;
    try {
      if (await holds()) return;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`, { cause });
    await sleep(500);
  }
}
