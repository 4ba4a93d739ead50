/**
 * What nodes ask: a key service of the release executable, with or without a Kubernetes control plane, in a folder of
 * its own on this machine. What a test does to it is what operators do (commands), or an outage.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { certificateAuthority } from "../cluster/certificates.ts";
import { startCluster, type TestCluster } from "../cluster/cluster.ts";
import { startTestKms, type TestKms } from "../cluster/kms.ts";
import { MEASUREMENT, strictPolicy, type Change } from "../attest/snp/policies.ts";
import { twinCaFolder } from "../twin/ca-folder.ts";
import { amdCa, type AmdCa } from "../twin/amd-ca.ts";
import { ensureHostAddress, HOST_ADDRESS } from "./address.ts";
import { StateDisk } from "./disk.ts";

/** What a machine needs to be a node. */
export interface Enrolled {
  readonly name: string;
  /** The disk image with the initdata. */
  readonly initdata: string;
  /** SHA-256 of the initdata, hex: what the launch binds. */
  readonly hostData: string;
}

export interface LabOptions {
  readonly leaseSeconds?: number;
  readonly nonceSeconds?: number;
  /** A Kubernetes control plane, too. */
  readonly kubernetes?: boolean;
}

const record = z.object({
  name: z.string(),
  disk: z.object({ state: z.string(), uuid: z.string(), generation: z.number(), epoch: z.number() }),
  lease: z.object({ id: z.string() }).optional(),
});
export type NodeRecord = z.infer<typeof record>;
const entry = z.object({ action: z.string(), node: z.string(), code: z.string() });
const EVERYWHERE = "0.0.0.0";

export class Lab implements AsyncDisposable {
  readonly folder: string;
  readonly kms: TestKms;
  readonly #cluster: TestCluster | undefined;
  readonly #ca: AmdCa;
  #version = 1;
  #disks = 0;

  private constructor(folder: string, ca: AmdCa, kms: TestKms, cluster?: TestCluster) {
    this.folder = folder;
    this.#ca = ca;
    this.kms = kms;
    this.#cluster = cluster;
  }

  static async open({ leaseSeconds = 300, nonceSeconds, kubernetes }: LabOptions = {}): Promise<Lab> {
    ensureHostAddress();
    const folder = mkdtempSync(join(tmpdir(), "sealet-lab-"));
    const twin = amdCa("Genoa", await twinCaFolder());
    const common = { bind: EVERYWHERE, addresses: [HOST_ADDRESS], leaseSeconds };
    if (kubernetes === true) {
      const cluster = await startCluster({ ...common, folder, measurements: [MEASUREMENT] });
      return new Lab(folder, twin, cluster.kms, cluster);
    }
    const kms = await startTestKms({
      ...common,
      folder: join(folder, "kms"),
      cluster: "sealet",
      apiServer: `https://${HOST_ADDRESS}:1`,
      authority: await certificateAuthority(folder, "sealet"),
      twin,
      policy: strictPolicy(twin),
    });
    const lab = new Lab(folder, twin, kms);
    if (nonceSeconds !== undefined) await lab.#configure({ nonceSeconds });
    return lab;
  }

  async #configure(changes: Readonly<Record<string, unknown>>): Promise<void> {
    const file = join(this.folder, "kms/kms/kms.json");
    const before = z.record(z.string(), z.unknown()).parse(JSON.parse(readFileSync(file, "utf8")));
    await this.kms.stop();
    writeFileSync(file, JSON.stringify({ ...before, ...changes }));
    await this.kms.start();
  }

  get kubernetes(): TestCluster {
    if (this.#cluster === undefined) throw new Error("this lab has no Kubernetes");
    return this.#cluster;
  }

  /** Puts a policy in force: the twin's, changed. */
  async applyPolicy(change?: Change): Promise<void> {
    await this.kms.applyPolicy({ ...strictPolicy(this.#ca, change), version: ++this.#version });
  }

  async addNode(name: string): Promise<Enrolled> {
    const { file, hostData } = await this.kms.addNode(name);
    return { name, initdata: file, hostData };
  }

  /** A file of the lab; its path. */
  write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  blankDisk(): StateDisk {
    return StateDisk.blank(join(this.folder, `disk-${++this.#disks}`));
  }

  /** A copy of a disk that is not in use. */
  copyOf(disk: StateDisk): StateDisk {
    return disk.copyTo(join(this.folder, `disk-${++this.#disks}`));
  }

  async record(name: string): Promise<NodeRecord> {
    const found = z
      .array(record)
      .parse(await this.kms.sealet("nodes", "list"))
      .find((node) => node.name === name);
    if (found === undefined) throw new Error(`the KMS knows no ${name}`);
    return found;
  }

  /** "action code" of every entry of the audit log about the node. */
  async history(name: string): Promise<string[]> {
    const entries = z.array(entry).parse(await this.kms.sealet("audit", "list", "--node", name));
    return entries.map(({ action, code }) => `${action} ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#cluster?.stop() ?? this.kms.stop());
    rmSync(this.folder, { recursive: true });
  }
}

/** Asks until it holds. @throws when the time is over */
export async function eventually(
  what: string,
  seconds: number,
  holds: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(200);
  }
}
