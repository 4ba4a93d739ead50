/**
 * What operators do with the KMS: nodes, policy, audit log. Reached on a root-only unix socket. Who is a node, and what
 * it must prove (enrolment, policy), an operator has to sign; to take away (remove, release, reset) the socket is enough.
 */
import { randomBytes } from "node:crypto";
import type {
  AddNodeRequest,
  ApplyPolicyRequest,
  Cluster,
  ListAuditRequest,
  ListAuditResponse,
  ListNodesResponse,
  NodeRecord as NodeMessage,
  NodeRequest,
  PolicyInfo,
} from "../api/gen/sealet.ts";
import { SealetError, asSealetError } from "../error.ts";
import { type NodeRecord, isLive } from "./record.ts";
import { wordsOf } from "./recorder.ts";
import { type OperatorKeys, openEnrolment, openPolicy, sha256Hex } from "./signed-file.ts";
import type { Outcome, State, Store } from "./store.ts";
import type { Verifier } from "./verifier.ts";

export interface OperatorServiceParts {
  readonly cluster: string;
  readonly endpoints: readonly string[];
  /** SHA-256 of the KMS's SPKI. */
  readonly spkiSha256: Buffer;
  readonly store: Store;
  readonly verifier: Verifier;
  readonly operators: OperatorKeys;
  /** @throws where the pod network has no such part */
  readonly podCidr: (network: number) => string;
  readonly now: () => number;
}

const MAX_AUDIT_PAGE = 1000;

/** What an operator's signature says of a node. */
type Signed = Pick<NodeRecord, "name" | "role" | "enrolmentSha256" | "initdataSha256" | "initdataSha384">;

const unknownNode = (name: string) => new SealetError("NODE_UNKNOWN", `There is no node ${name}`);

export class OperatorService {
  readonly #parts: OperatorServiceParts;

  constructor(parts: OperatorServiceParts) {
    this.#parts = parts;
  }

  getCluster(): Promise<Cluster> {
    const { cluster: name, endpoints, spkiSha256 } = this.#parts;
    return Promise.resolve({ name, endpoints: [...endpoints], kmsSpkiSha256: spkiSha256 });
  }

  addNode(request: AddNodeRequest): Promise<NodeMessage> {
    return this.#enrolled("add-node", request, (state, signed) => {
      if (state.record !== undefined)
        throw new SealetError("NODE_EXISTS", `There is a node ${signed.name} already`, { predicate: "name" });
      return {
        ...signed,
        id: randomBytes(16).toString("hex"),
        disk: { state: "expects-blank", uuid: "" },
        generation: 1,
        epoch: 0,
        lease: null,
        podNetwork: state.freePodNetwork(),
        created: this.#parts.now(),
        lastUnseal: null,
      };
    });
  }

  /** The id stays, and with it the keys of the disk. Not while a machine runs under the old initdata: it would be cut off. */
  reissueNode(request: AddNodeRequest): Promise<NodeMessage> {
    return this.#enrolled("reissue-node", request, ({ record }, signed) => {
      if (record === undefined) throw unknownNode(signed.name);
      this.#demandNoLease(record);
      return { ...record, ...signed };
    });
  }

  async listNodes(): Promise<ListNodesResponse> {
    const records = await this.#parts.store.listNodes();
    return { nodes: records.map((record) => this.#message(record)) };
  }

  /** Not while a machine runs on its disk: a node added under the name would be a second one. */
  removeNode({ name }: NodeRequest): Promise<NodeMessage> {
    return this.#change("remove-node", name, (record) => {
      this.#demandNoLease(record);
      return "remove";
    });
  }

  releaseNode({ name }: NodeRequest): Promise<NodeMessage> {
    return this.#change("release-node", name, (record) => ({ ...record, lease: null }));
  }

  /** Not while a machine runs on the old disk: it would go on, and fail at its next commit only. */
  resetDisk({ name }: NodeRequest): Promise<NodeMessage> {
    return this.#change("reset-disk", name, (record) => {
      this.#demandNoLease(record);
      return { ...record, disk: { state: "expects-blank", uuid: "" }, epoch: 0, lease: null };
    });
  }

  applyPolicy(request: ApplyPolicyRequest): Promise<PolicyInfo> {
    return this.#answer("apply-policy", "", async () => {
      const { store, verifier, operators, cluster } = this.#parts;
      const { payload, keyid } = await openPolicy(request.policy, operators);
      const { version } = verifier.readPolicy(payload, cluster);
      const sha256 = sha256Hex(payload);
      const detail = { request: "apply-policy", version: Number(version), sha256, keyid };
      const entry = { action: "policy", node: "", code: "OK", detail } as const;
      if (!(await store.replacePolicy({ version, envelope: request.policy }, entry)))
        throw new SealetError(
          "POLICY_ROLLED_BACK",
          "A policy of this version, or a newer one, was in force",
          {
            predicate: "version",
            expected: `above ${(await store.readPolicy())?.version ?? 0n}`,
            found: String(version),
          },
        );
      return { version, policy: request.policy, sha256: Buffer.from(sha256, "hex") };
    });
  }

  async getPolicy(): Promise<PolicyInfo> {
    const stored = await this.#parts.store.readPolicy();
    if (stored === undefined) return { version: 0n, policy: Buffer.alloc(0), sha256: Buffer.alloc(0) };
    const { payload } = await openPolicy(stored.envelope, this.#parts.operators);
    const sha256 = Buffer.from(sha256Hex(payload), "hex");
    return { version: stored.version, policy: stored.envelope, sha256 };
  }

  async listAudit({ afterSequence, limit }: ListAuditRequest): Promise<ListAuditResponse> {
    const most = limit === 0 ? MAX_AUDIT_PAGE : Math.min(limit, MAX_AUDIT_PAGE);
    return { entries: await this.#parts.store.listAudit(afterSequence, most) };
  }

  #enrolled(
    request: string,
    { enrolment: envelope, initdataSha256, initdataSha384 }: AddNodeRequest,
    decide: (state: State, signed: Signed) => NodeRecord,
  ): Promise<NodeMessage> {
    return this.#answer(request, "", async () => {
      const { store, operators, cluster, podCidr } = this.#parts;
      if (initdataSha256.length !== 32 || initdataSha384.length !== 48)
        throw new SealetError("REQUEST_INVALID", "The initdata's digests are not SHA-256 and SHA-384");
      const { enrolment, sha256: enrolmentSha256, keyid } = await openEnrolment(envelope, operators, cluster);
      const { node: name, role } = enrolment;
      const signed = {
        name,
        role,
        enrolmentSha256,
        initdataSha256: initdataSha256.toString("hex"),
        initdataSha384: initdataSha384.toString("hex"),
      };
      const record = await store.decide(name, (state): Outcome<NodeRecord> => {
        const decided = decide(state, signed);
        const detail = { request, role, keyid, enrolmentSha256, podCidr: podCidr(decided.podNetwork) };
        return { value: decided, record: decided, audit: { action: "node", node: name, code: "OK", detail } };
      });
      return this.#message(record);
    });
  }

  #demandNoLease({ name, lease }: NodeRecord): void {
    if (lease === null || !isLive(lease, this.#parts.now())) return;
    throw new SealetError("LEASE_HELD", `A machine runs as ${name}: stop it, or end its lease, first`, {
      predicate: "lease",
      expected: "none",
      found: `one until ${new Date(lease.expires).toISOString()}`,
    });
  }

  #change(
    request: string,
    name: string,
    change: (record: NodeRecord) => NodeRecord | "remove",
  ): Promise<NodeMessage> {
    return this.#answer(request, name, async () => {
      const record = await this.#parts.store.decide(name, (state: State): Outcome<NodeRecord> => {
        if (state.record === undefined) throw unknownNode(name);
        const changed = change(state.record);
        // the id too: with it and the root key a node that was removed by mistake still has its disk's keys
        const { id, disk, generation, epoch, lease } = state.record;
        const detail = { request, before: { id, disk, generation, epoch, lease } };
        const audit = { action: "node", node: name, code: "OK", detail } as const;
        return { value: changed === "remove" ? state.record : changed, record: changed, audit };
      });
      return this.#message(record);
    });
  }

  /** INVARIANT (I7): a refusal stands in the audit log before it leaves. */
  async #answer<T>(request: string, node: string, handle: () => Promise<T>): Promise<T> {
    try {
      return await handle();
    } catch (thrown) {
      const error = asSealetError(thrown);
      const { code } = error;
      const detail = { request, ...wordsOf(error) };
      await this.#parts.store.audit({ action: "operator-refusal", node: node.slice(0, 256), code, detail });
      throw error;
    }
  }

  #message(record: NodeRecord): NodeMessage {
    const { name, role, disk, generation, epoch, lease, created, lastUnseal } = record;
    const now = this.#parts.now();
    return {
      name,
      role,
      diskState: disk.state,
      diskUuid: disk.uuid,
      generation,
      epoch: BigInt(epoch),
      lease:
        lease !== null && isLive(lease, now)
          ? { id: lease.id, expiresUnixMs: BigInt(lease.expires), durationMs: BigInt(lease.expires - now) }
          : undefined,
      createdUnixMs: BigInt(created),
      lastUnsealUnixMs: BigInt(lastUnseal ?? 0),
    };
  }
}
