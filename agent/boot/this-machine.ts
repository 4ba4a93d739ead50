/** The machine that the agent runs on: the real parts, in the shape that the boot sequence wants. */
import type { Disk, Evidence } from "../api/gen/sealet.ts";
import { hex } from "../attest/bytes.ts";
import { evidenceReportData } from "../attest/report-data.ts";
import { REPORT } from "../attest/snp/report.ts";
import { parseQuote } from "../attest/tdx/quote.ts";
import { nodeCrypto } from "../crypto/node.ts";
import { StateDisk, type StateDiskOptions } from "../disk/state-disk.ts";
import { SealetError } from "../error.ts";
import { FILES } from "../kubelet/places.ts";
import {
  apiUrl,
  readKubernetesAhead,
  startKubernetes,
  stopKubernetes,
  writeCertificates,
} from "../kubelet/kubernetes.ts";
import { type KubernetesApi, tellNode } from "../kubelet/node-object.ts";
import { readIfThere } from "../atomic-file.ts";
import type { Services } from "../kubelet/systemd.ts";
import { detectTee } from "../tee/detect.ts";
import type { EvidenceSource } from "../tee/evidence-source.ts";
import type { Clock } from "./clock.ts";
import { type Configuration, readConfiguration } from "./configuration.ts";
import { instanceIdentity } from "./instance-identity.ts";
import type {
  Inspection,
  Machine,
  NodeConfiguration,
  StateDisk as BootDisk,
  Tee,
  Verdict,
} from "./machine.ts";
import { NodeKeys, type NodeUnsealed } from "./node-keys.ts";

export interface ThisMachineOptions {
  readonly runtime: string;
  readonly clock: Clock;
  readonly services: Services;
  readonly onConfigured?: (configuration: Configuration) => void;
  /** Opens the node API. */
  readonly serve: () => Promise<string>;
}

const MOUNT_POINT = "/var";
const GOING_DOWN_TIMEOUT = 5000;
/** Less than what kubelet needs to be healthy, so that nobody waits for an API server that is not there. */
const TELL_TIMEOUT = 5000;

export class ThisMachine implements Machine<NodeUnsealed> {
  readonly #options: ThisMachineOptions;
  #configuration: Configuration | undefined;
  #source: EvidenceSource | undefined;
  #disk: StateDisk | undefined;
  #keys: NodeKeys | undefined;

  constructor(options: ThisMachineOptions) {
    this.#options = options;
  }

  get configuration(): Configuration {
    return need(this.#configuration, "configuration");
  }

  get keys(): NodeKeys {
    return need(this.#keys, "TEE");
  }

  async configure(): Promise<NodeConfiguration> {
    this.#configuration = await readConfiguration();
    this.#options.onConfigured?.(this.#configuration);
    const { initdata, digests } = this.#configuration;
    const { cluster, node, claimed, stateDisk } = initdata;
    this.#disk = this.#diskOf(stateDisk, cluster, node);
    return { cluster, node, role: claimed.role, initdataSha256: hex(digests.sha256) };
  }

  async detect(): Promise<Tee> {
    void readKubernetesAhead();
    const { runtime, clock } = this.#options;
    const source = await detectTee();
    const identity = await instanceIdentity(runtime);
    this.#source = source;
    this.#keys?.close();
    const { initdata, digests } = this.configuration;
    this.#keys = new NodeKeys({ initdata, digests, source, identity, clock, runtime });
    return source;
  }

  readonly disk: BootDisk<NodeUnsealed> = {
    inspect: async (signal) => this.#inspect(signal),
    unseal: async (keys, signal) => this.#stateDisk.unseal(keys, signal),
    mount: async (signal) => this.#stateDisk.mount(signal),
    close: async (signal) => this.#openDisk.close(signal),
    suspend: async () => this.#openDisk.suspend(),
  };

  readonly kubernetes = {
    tell: async (verdict: Verdict, signal: AbortSignal) => this.#tell(verdict, signal),
    start: async (signal: AbortSignal) =>
      startKubernetes(need(this.keys.enrolment, "enrolment"), this.#options.services, signal),
    stop: async (signal: AbortSignal) => stopKubernetes(this.#options.services, signal),
  };

  serve(): Promise<string> {
    return this.#options.serve();
  }

  async goingDown(): Promise<boolean> {
    try {
      return await this.#options.services.isGoingDown(AbortSignal.timeout(GOING_DOWN_TIMEOUT));
    } catch {
      // Nobody says so: then the lease runs out by itself, which costs time, not safety.
      return false;
    }
  }

  /** When their time comes. Repeated where it fails, it ends what was begun. @returns whether they are new */
  async renewCertificates(signal: AbortSignal): Promise<boolean> {
    await this.keys.enrol(signal);
    return writeCertificates(need(this.keys.enrolment, "enrolment"));
  }

  async initialiseDisk(signal: AbortSignal): Promise<void> {
    await this.#stateDisk.initialise(signal);
  }

  async describeDisk(): Promise<Disk> {
    return this.#stateDisk.describe();
  }

  /** @throws NOT_SERVING before `detect` */
  async evidence(nonce: Buffer, signal: AbortSignal): Promise<Evidence> {
    const source = need(this.#source, "TEE");
    const reportData = await evidenceReportData(nodeCrypto(), nonce);
    return source.getEvidence(reportData, { signal });
  }

  async #tell({ evidenceSha256, attestedUnixMs }: Verdict, signal: AbortSignal): Promise<void> {
    const { tee } = need(this.#source, "TEE");
    const api = this.#kubernetesApi();
    const facts = { tee, measurement: this.#measurement(), evidenceSha256, attestedUnixMs };
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TELL_TIMEOUT)]);
    try {
      await tellNode(api, this.configuration.initdata.node, facts, limit);
    } finally {
      api.key.fill(0);
    }
  }

  /** The launch measurement in the evidence that the KMS had last, hex; none where this agent gave no evidence. */
  #measurement(): string | undefined {
    const evidence = this.#keys?.evidence;
    if (evidence?.tee === "sev-snp") return hex(REPORT.decode(evidence.report).measurement);
    if (evidence?.tee === "tdx") return hex(parseQuote(evidence.report).td.fields.mrTd);
    return undefined;
  }

  /** With kubelet's own credential. */
  #kubernetesApi(): KubernetesApi {
    const server = apiUrl(need(this.keys.enrolment, "enrolment").apiServers[0] ?? "");
    const read = (path: string) => need(readIfThere(path), path);
    return {
      server,
      ca: read(FILES.clusterCa),
      certificate: read(FILES.clientCertificate),
      key: read(FILES.clientKey),
    };
  }

  close(): void {
    this.#keys?.close();
  }

  #diskOf(disk: StateDiskOptions["disk"], cluster: string, node: string): StateDisk {
    return new StateDisk({ disk, cluster, node, mountPoint: MOUNT_POINT, runtime: this.#options.runtime });
  }

  /** Whose disk it is does not matter to close it: an earlier agent of this boot may have it open before `configure`. */
  get #openDisk(): StateDisk {
    return this.#disk ?? this.#diskOf({ path: "" }, "", "");
  }

  get #stateDisk(): StateDisk {
    return need(this.#disk, "state disk");
  }

  async #inspect(signal: AbortSignal): Promise<Inspection> {
    const inspection = await this.#stateDisk.inspect(signal);
    const { state, sizeBytes } = inspection.facts;
    const { minimumBytes } = this.configuration.measured.stateDisk;
    if (state === "blank" && sizeBytes < minimumBytes) {
      throw new SealetError("DISK_TOO_SMALL", "The image wants a larger state disk", {
        expected: `${minimumBytes} bytes`,
        found: `${sizeBytes} bytes`,
      });
    }
    return inspection;
  }
}

function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new SealetError("NOT_SERVING", `There is no ${what} yet`);
  return value;
}
