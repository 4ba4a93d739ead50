/** A real KMS in a directory of its own, an operator with a key, and twin machines that ask it over real TLS. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SealetError } from "../../agent/error.ts";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { type OperatorKey, createOperatorKey, openOperatorKey } from "../../agent/cli/sign.ts";
import type { AuditEntry, DiskFacts, Evidence, NodeRecord } from "../../agent/api/gen/sealet.ts";
import type { Collateral } from "../../agent/attest/appraise.ts";
import { type Policy, POLICY_PAYLOAD_TYPE } from "../../agent/attest/policy.ts";
import { ENROLMENT_TYPE } from "../../agent/config/enrolment.ts";
import { type Initdata, buildInitdata, initdataDigests, parseInitdata } from "../../agent/config/initdata.ts";
import { attestVerifier } from "../../agent/kms/attest-verifier.ts";
import {
  type EvidenceSource,
  KmsConnection,
  type KmsConnectionOptions,
  type Unsealed,
} from "../../agent/kms/client.ts";
import { type Setup, createDirectory } from "../../agent/kms/directory.ts";
import { type TlsIdentity, createIdentity } from "../../agent/kms/identity.ts";
import { type Kms, startKms } from "../../agent/kms/server.ts";
import { type Change, MEASUREMENT, strictPolicy } from "../attest/snp/policies.ts";
import {
  type AmdCa,
  type ReportFields,
  type Vek,
  amdCa,
  certificateTable,
  signReport,
} from "../twin/amd-ca.ts";

export const twinCa: AmdCa = amdCa("Genoa");
export const vcek: Vek = twinCa.issue();
const auxiliary = Buffer.from(certificateTable({ vcek: vcek.der }));

/** Stands still relative to the system's clock, but for what a test adds. */
class TestClock {
  ahead = 0;
  readonly now = () => Date.now() + this.ahead;
}

export class Cluster implements AsyncDisposable {
  readonly directory: string;
  readonly operator: OperatorKey;
  readonly clock = new TestClock();
  readonly defects: unknown[] = [];
  collateral: Collateral = { snp: { Genoa: twinCa.collateral() } };
  kms: Kms;

  private constructor(directory: string, operator: OperatorKey, kms: Kms) {
    this.directory = directory;
    this.operator = operator;
    this.kms = kms;
  }

  static async start(
    setup: Partial<Setup> = {},
    policy: Policy | null = strictPolicy(twinCa),
  ): Promise<Cluster> {
    const base = mkdtempSync(join(tmpdir(), "sealet-kms-"));
    const directory = join(base, "kms");
    createOperatorKey(join(base, "operator.key"), join(base, "operator.pub"));
    await createDirectory(directory, {
      cluster: "prod",
      endpoints: ["127.0.0.1:1"],
      listen: "127.0.0.1:1",
      operatorKeys: [readFileSync(join(base, "operator.pub"))],
      ...setup,
    });
    const cluster = new Cluster(directory, openOperatorKey(join(base, "operator.key")), nothing);
    await cluster.open();
    if (policy !== null) await cluster.applyPolicy(policy);
    return cluster;
  }

  async open(): Promise<void> {
    this.kms = await startKms(this.directory, {
      verifier: attestVerifier,
      readCollateral: () => this.collateral,
      report: (_request, error) => this.defects.push(error),
      now: this.clock.now,
      listen: "127.0.0.1:0",
    });
  }

  async restart(): Promise<void> {
    await this.kms.close();
    await this.open();
  }

  async applyPolicy(policy: Policy): Promise<void> {
    const envelope = this.operator.sign(
      POLICY_PAYLOAD_TYPE,
      Buffer.from(JSON.stringify({ cluster: "prod", ...policy })),
    );
    await withOperator(this.kms.socket, (ask) => ask(METHOD.applyPolicy, { policy: envelope }));
  }

  /** @returns the initdata of the node's machine */
  async addNode(node: string, role = "worker"): Promise<Buffer> {
    const serial = Buffer.from(node.padEnd(16, ".")).subarray(0, 16).toString("hex");
    const claims = { cluster: "prod", node, role, serial, created: new Date().toISOString() };
    const enrolment = this.operator.sign(ENROLMENT_TYPE, Buffer.from(JSON.stringify(claims)));
    const kms = { endpoints: ["127.0.0.1:1"], spkiSha256: this.kms.spkiSha256 };
    const initdata = buildInitdata({ cluster: "prod", node, kms, enrolment });
    const { sha256, sha384 } = initdataDigests(initdata);
    const request = { enrolment, initdataSha256: sha256, initdataSha384: sha384 };
    await withOperator(this.kms.socket, (ask) => ask(METHOD.addNode, request));
    return initdata;
  }

  async record(name: string): Promise<NodeRecord> {
    const { nodes } = await withOperator(this.kms.socket, (ask) => ask(METHOD.listNodes, {}));
    const record = nodes.find((node) => node.name === name);
    if (record === undefined) throw new Error(`no record of ${name}`);
    return record;
  }

  async audit(): Promise<AuditEntry[]> {
    const all = { afterSequence: 0n, limit: 1000 };
    return (await withOperator(this.kms.socket, (ask) => ask(METHOD.listAudit, all))).entries;
  }

  /** "action code", of every entry. */
  async history(): Promise<string[]> {
    return (await this.audit()).map(({ action, code }) => `${action} ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kms.close();
    rmSync(join(this.directory, ".."), { recursive: true });
  }
}

const nothing: Kms = {
  address: "",
  socket: "",
  spkiSha256: Buffer.alloc(32),
  reloadCollateral: () => Promise.resolve(),
  close: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

export const never = new AbortController().signal;

/** A confidential VM: its launch is bound to initdata, and it has a TLS key of this boot. */
export class Machine implements Disposable {
  readonly initdata: Initdata;
  readonly identity: TlsIdentity;
  readonly connection: KmsConnection;
  /** Those of its connection, for others like it. */
  readonly options: KmsConnectionOptions;
  /** The disk as the next unsealing will describe it. */
  disk: DiskFacts = blank();

  constructor(address: string, document: Buffer, identity: TlsIdentity, evidence?: EvidenceSource) {
    this.initdata = parseInitdata(document);
    this.identity = identity;
    this.options = {
      endpoints: [address],
      spkiSha256: this.initdata.kms.spkiSha256,
      identity,
      tee: "sev-snp",
      agentVersion: "0.0.0-test",
      evidence: evidence ?? twinEvidence(document),
      callTimeoutMs: 5000,
    };
    this.connection = new KmsConnection(this.options);
  }

  static boot({ kms }: Cluster, document: Buffer, evidence?: EvidenceSource): Promise<Machine> {
    return Machine.bootAt(kms.address, document, evidence);
  }

  static async bootAt(address: string, document: Buffer, evidence?: EvidenceSource): Promise<Machine> {
    return new Machine(address, document, await createIdentity("node"), evidence);
  }

  unseal(): Promise<Unsealed> {
    return this.connection.unseal({ enrolment: this.initdata.enrolment, disk: this.disk }, never);
  }

  /** What a node does: unseal, write the epoch to the disk, commit. @returns a copy of the disk key */
  async start(): Promise<{ key: Buffer; leaseId: string }> {
    using unsealed = await this.unseal();
    const { uuid, generation, nextEpoch, lease } = unsealed;
    const key = Buffer.from(unsealed.diskKey);
    this.disk = sealed(uuid, nextEpoch, generation);
    await this.connection.commit(uuid, nextEpoch, never);
    return { key, leaseId: lease.id };
  }

  [Symbol.dispose](): void {
    this.connection.close();
  }
}

export function blank(): DiskFacts {
  return { ...sealed("", 0n, 0), state: "blank", headerDigest: Buffer.alloc(0) };
}

export function sealed(uuid: string, epoch: bigint, generation = 1): DiskFacts {
  const size = { sizeBytes: 1024n ** 3n };
  return { state: "sealed", uuid, headerDigest: Buffer.alloc(32, 1), generation, epoch, ...size };
}

/** What the machine's secure processor signs. */
export function twinEvidence(
  document: Buffer,
  fields: Partial<ReportFields> = {},
  signer: { vek: Vek; auxiliary: Buffer } = { vek: vcek, auxiliary },
): EvidenceSource {
  return (reportData) => {
    const hostData = initdataDigests(document).sha256;
    const measurement = Buffer.from(MEASUREMENT, "hex");
    const report = signReport({ product: "Genoa", reportData, hostData, measurement, ...fields }, signer.vek);
    const evidence: Evidence = {
      tee: "sev-snp",
      report: Buffer.from(report),
      auxiliary: signer.auxiliary,
      eventLog: Buffer.alloc(0),
    };
    return Promise.resolve(evidence);
  };
}

export function policyVersion(version: number, change?: Change): Policy {
  return { ...strictPolicy(twinCa, change), cluster: "prod", version };
}

/** The code of the error that a promise ends with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SealetError) return error.code;
    throw error;
  }
  return "OK";
}
