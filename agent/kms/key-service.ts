/**
 * The key service, apart from its transport: six requests, each with its checks in the order from cheap to dear. Which
 * disk and which epoch is `release.ts`'s, audit `recorder.ts`'s. Keys are derived last of all, after the decision stands.
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { Key } from "hpke";
import {
  type AttestedRequest,
  type ChallengeRequest,
  type ChallengeResponse,
  type CommitRequest,
  type CommitResponse,
  type EnrolRequest,
  type EnrolResponse,
  type Lease,
  type ReleaseRequest,
  type ReleaseResponse,
  RenewBody,
  type RenewResponse,
  UnsealBody,
  type UnsealResponse,
} from "../api/gen/sealet.ts";
import { type Purpose, reportData } from "../attest/report-data.ts";
import { nodeCrypto } from "../crypto/node.ts";
import { SealetError } from "../error.ts";
import { Appraiser } from "./appraiser.ts";
import { PROTOCOL_VERSIONS } from "./channel.ts";
import { readDiskFacts } from "./disk-facts.ts";
import type { EnrolmentCa } from "./enrolment-ca.ts";
import { type NonceLimits, Nonces } from "./nonces.ts";
import type { Peer } from "./peer.ts";
import type { PolicyInForce } from "./policy-in-force.ts";
import type { LeaseRecord, NodeRecord } from "./record.ts";
import { Recorder, type Trace } from "./recorder.ts";
import { type Grant, commitEpoch, extendLease, grantUnseal, liveLease } from "./release.ts";
import { checkSizes, decodeBody, demandLength } from "./request-form.ts";
import type { RootKey } from "./root-key.ts";
import { type OperatorKeys, openEnrolment, sha256Hex } from "./signed-file.ts";
import type { State, Store } from "./store.ts";
import { readKemPublicKey, wrap } from "./wrap.ts";

/** What kubelet on a node needs to know of the cluster. */
interface ClusterFacts {
  readonly apiServers: readonly string[];
  /** JSON. */
  readonly kubeletConfiguration: string;
  podCidr(network: number): string;
}

interface Limits {
  readonly leaseMs: number;
  readonly nonces: NonceLimits;
  readonly refusalsPerMinute: number;
  /** Appraisals at once. */
  readonly appraisals: number;
}

export interface KeyServiceParts {
  readonly cluster: string;
  readonly facts: ClusterFacts;
  readonly store: Store;
  readonly root: RootKey;
  readonly ca: EnrolmentCa;
  readonly policy: PolicyInForce;
  readonly operators: OperatorKeys;
  /** SPKI (DER) of the KMS's TLS key. */
  readonly spki: Uint8Array;
  readonly limits: Limits;
  /** ms since 1970. */
  readonly now: () => number;
}

const crypto = nodeCrypto();

export class KeyService {
  readonly #parts: KeyServiceParts;
  readonly #nonces: Nonces;
  readonly #recorder: Recorder;
  readonly #appraiser: Appraiser;

  constructor(parts: KeyServiceParts) {
    const { store, limits, now, policy } = parts;
    this.#parts = parts;
    this.#nonces = new Nonces(limits.nonces);
    this.#recorder = new Recorder(store, limits.refusalsPerMinute, now);
    this.#appraiser = new Appraiser({ policy, recorder: this.#recorder, most: limits.appraisals, now });
  }

  challenge(request: ChallengeRequest, peer: Peer): Promise<ChallengeResponse> {
    return this.#recorder.answer("challenge", peer, (_, share) => {
      demandLength("nonce", request.nonce, 32);
      const version = PROTOCOL_VERSIONS.find((spoken) => request.versions.includes(spoken));
      if (version === undefined)
        throw new SealetError("PROTOCOL_VERSION", "Node and KMS have no protocol version in common", {
          predicate: "versions",
          expected: PROTOCOL_VERSIONS.join(", "),
          found: request.versions.slice(0, 8).join(", "),
        });
      const { nonce, expires } = this.#nonces.issue(peer.holder, share, this.#parts.now());
      return Promise.resolve({ version, nonce, expiresUnixMs: BigInt(expires) });
    });
  }

  unseal(request: AttestedRequest, peer: Peer): Promise<UnsealResponse> {
    return this.#recorder.answer("unseal", peer, async (trace) => {
      const evidence = checkSizes(request);
      const body = decodeBody(UnsealBody, request.body);
      this.#nonces.take(body.nonce, peer.holder, this.#parts.now());
      const kemKey = await readKemPublicKey(body.kemPublicKey);
      const disk = readDiskFacts(body.disk);
      Object.assign(trace.detail, { agent: body.agentVersion.slice(0, 64), disk });
      const record = await this.#enrolled(body.enrolment, trace);
      const bound = await this.#reportData("unseal", peer, body.nonce, body.kemPublicKey, request.body);
      const fresh = { leaseId: randomBytes(16).toString("hex"), uuid: randomUUID() };
      const { leaseMs } = this.#parts.limits;
      const subject = { record, evidence, reportData: bound };
      const grant = await this.#appraiser.decide(subject, trace, (state, now) => {
        const current = sameRecord(state, record);
        const value = grantUnseal(current, { holder: peer.holder, disk, now, leaseMs, fresh });
        const { format, uuid, nextEpoch, lease } = value;
        const detail = { format, uuid, generation: current.generation, nextEpoch, lease: leaseText(lease) };
        return { action: "release", value, record: value.record, detail };
      });
      return this.#wrapped(grant, kemKey, bound);
    });
  }

  commit(request: CommitRequest, peer: Peer): Promise<CommitResponse> {
    return this.#recorder.answer("commit", peer, async (trace) => {
      const { uuid } = request;
      const epoch = Number(request.epoch);
      const { name } = await this.#heldBy(peer, trace);
      await this.#recorder.decide(name, trace, (state, now) => {
        const record = commitEpoch(demandNode(state.record, name), { holder: peer.holder, uuid, epoch, now });
        return { action: "commit", value: undefined, record, detail: { uuid, epoch } };
      });
      return {};
    });
  }

  enrol(request: EnrolRequest, peer: Peer): Promise<EnrolResponse> {
    return this.#recorder.answer("enrol", peer, async (trace) => {
      const { ca, facts, now } = this.#parts;
      const record = await this.#heldBy(peer, trace);
      demandCommitted(record, peer, now());
      const requests = { client: request.clientCsr, serving: request.servingCsr };
      const signed = await ca.sign(record.name, requests, now());
      await this.#recorder.decide(record.name, trace, (state, at) => {
        demandCommitted(sameRecord(state, record), peer, at);
        const detail = { clientSha256: sha256Hex(signed.client), servingSha256: sha256Hex(signed.serving) };
        return { action: "enrol", value: undefined, detail };
      });
      return {
        clientCertificate: signed.client,
        servingCertificate: signed.serving,
        clusterCa: ca.certificate,
        apiServers: [...facts.apiServers],
        nodeName: record.name,
        role: record.role,
        kubeletConfiguration: facts.kubeletConfiguration,
        podCidr: facts.podCidr(record.podNetwork),
      };
    });
  }

  renew(request: AttestedRequest, peer: Peer): Promise<RenewResponse> {
    return this.#recorder.answer("renew", peer, async (trace) => {
      const evidence = checkSizes(request);
      const { nonce, leaseId } = decodeBody(RenewBody, request.body);
      this.#nonces.take(nonce, peer.holder, this.#parts.now());
      const record = await this.#heldBy(peer, trace);
      liveLease(record, peer.holder, this.#parts.now());
      const bound = await this.#reportData("renew", peer, nonce, Buffer.alloc(0), request.body);
      const { leaseMs } = this.#parts.limits;
      const subject = { record, evidence, reportData: bound };
      const lease = await this.#appraiser.decide(subject, trace, (state, now) => {
        const extended = extendLease(sameRecord(state, record), {
          holder: peer.holder,
          leaseId,
          now,
          leaseMs,
        });
        const detail = { lease: leaseText(extended.lease) };
        return { action: "renew", value: extended.lease, record: extended.record, detail };
      });
      return { lease: this.#leaseMessage(lease) };
    });
  }

  release(request: ReleaseRequest, peer: Peer): Promise<ReleaseResponse> {
    return this.#recorder.answer("release", peer, async (trace) => {
      const { name } = await this.#heldBy(peer, trace);
      await this.#recorder.decide(name, trace, (state, now) => {
        const held = { holder: peer.holder, leaseId: request.leaseId, now, leaseMs: 0 };
        const { record } = extendLease(demandNode(state.record, name), held);
        return { action: "return", value: undefined, record: { ...record, lease: null }, detail: {} };
      });
      return {};
    });
  }

  /**
   * INVARIANT (I6): name, role and membership are the signed enrolment's and the record's. Whether a name is known is
   * told only to who has an enrolment that an operator signed.
   */
  async #enrolled(envelope: Uint8Array, trace: Trace): Promise<NodeRecord> {
    const { operators, cluster, store } = this.#parts;
    const { enrolment, sha256 } = await openEnrolment(envelope, operators, cluster);
    trace.node = enrolment.node;
    const record = demandNode(await store.readNode(enrolment.node), enrolment.node);
    if (record.enrolmentSha256 === sha256) return record;
    throw new SealetError("ENROLMENT_INVALID", `The node ${enrolment.node} was enrolled anew since`, {
      predicate: "enrolment",
      expected: record.enrolmentSha256,
      found: sha256,
    });
  }

  async #heldBy(peer: Peer, trace: Trace): Promise<NodeRecord> {
    const record = await this.#parts.store.readHeldBy(peer.holder);
    if (record === undefined)
      throw new SealetError("LEASE_LOST", "This machine holds no lease", {
        predicate: "lease",
        expected: "a live lease of this machine",
        found: "none",
      });
    trace.node = record.name;
    return record;
  }

  #reportData(
    purpose: Purpose,
    peer: Peer,
    nonce: Uint8Array,
    kemPublicKey: Uint8Array,
    body: Uint8Array,
  ): Promise<Uint8Array> {
    const keys = { kmsSpki: this.#parts.spki, nodeSpki: peer.spki };
    return reportData(crypto, { purpose, nonce, ...keys, kemPublicKey, body });
  }

  /** INVARIANT (I6): the keys are of this record, role, disk and generation, whatever the node said. */
  async #wrapped(grant: Grant, kemKey: Key, bound: Uint8Array): Promise<UnsealResponse> {
    const { cluster, root, now } = this.#parts;
    const { record, uuid, format, nextEpoch, lease } = grant;
    const { generation } = record;
    const name = { cluster, resource: [record.id, record.role, uuid], generation };
    const diskKey = root.derive({ ...name, purpose: "disk-key" });
    const headerMacKey = root.derive({ ...name, purpose: "header-mac" });
    try {
      return await wrap(kemKey, bound, {
        diskKey,
        headerMacKey,
        format,
        uuid,
        generation,
        nextEpoch: BigInt(nextEpoch),
        lease: this.#leaseMessage(lease),
        timeUnixMs: BigInt(now()),
      });
    } finally {
      diskKey.fill(0);
      headerMacKey.fill(0);
    }
  }

  #leaseMessage({ id, expires }: LeaseRecord): Lease {
    const durationMs = Math.max(0, expires - this.#parts.now());
    return { id, expiresUnixMs: BigInt(expires), durationMs: BigInt(durationMs) };
  }
}

function demandNode(record: NodeRecord | undefined, name: string): NodeRecord {
  if (record !== undefined) return record;
  throw new SealetError("NODE_UNKNOWN", `The KMS has no record of the node ${name}`);
}

/** The record that the evidence was held against; not one that took its name meanwhile. */
function sameRecord(state: State, seen: NodeRecord): NodeRecord {
  const record = demandNode(state.record, seen.name);
  return record.id === seen.id ? record : demandNode(undefined, seen.name);
}

function demandCommitted(record: NodeRecord, peer: Peer, now: number): void {
  if (liveLease(record, peer.holder, now).committed) return;
  throw new SealetError("RELEASE_REFUSED", "The disk's epoch was not committed yet", {
    predicate: "lease.committed",
    expected: `epoch ${record.epoch + 1}`,
    found: `epoch ${record.epoch}`,
  });
}

function leaseText({ id, expires }: LeaseRecord): { id: string; expires: string } {
  return { id, expires: new Date(expires).toISOString() };
}
