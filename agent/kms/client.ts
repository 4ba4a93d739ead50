/**
 * The node's side of the key service: asks the KMS's endpoints in turn, accepts only the pinned key, and gives evidence
 * that is bound to this request over this channel (invariant I1). Waiting and repeating over time is the boot
 * sequence's; here an operation is tried once at each endpoint.
 */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { Client } from "@grpc/grpc-js";
import { Secret } from "../../native/memory.ts";
import { reportData } from "../attest/report-data.ts";
import { nodeCrypto } from "../crypto/node.ts";
import { SealetError, asSealetError } from "../error.ts";
import {
  type DiskFacts,
  type EnrolResponse,
  type Evidence,
  KmsService,
  type Lease,
  RenewBody,
  UnsealBody,
  type UnsealSecrets,
} from "../api/gen/sealet.ts";
import { type CallLimits, call, cancelled } from "./call.ts";
import { MAX_LEASE_MS, PROTOCOL_VERSIONS, PinnedCredentials } from "./channel.ts";
import { isUuid } from "./disk-facts.ts";
import { type TlsIdentity, spkiOf } from "./identity.ts";
import { createKemKey, unwrap } from "./wrap.ts";

/** @param reportData 64 bytes, to stand in the evidence's report data */
export type EvidenceSource = (reportData: Buffer, signal: AbortSignal) => Promise<Evidence>;

export interface KmsConnectionOptions {
  /** "host:port", asked in this order, beginning with the one that answered last. */
  readonly endpoints: readonly string[];
  /** SHA-256 of the KMS's SPKI, 32 bytes; from initdata. */
  readonly spkiSha256: Uint8Array;
  /** This node's key, the same for the whole boot: by it the KMS knows the lease's holder. */
  readonly identity: TlsIdentity;
  /** "sev-snp", "tdx", ... */
  readonly tee: string;
  readonly agentVersion: string;
  readonly evidence: EvidenceSource;
  /** For one call of one endpoint; default 10 s. */
  readonly callTimeoutMs?: number;
}

export interface HeldLease {
  readonly id: string;
  readonly durationMs: number;
  /**
   * By `performance.now()`: counted from before the request, so it never lies after the KMS's own end. What the KMS's
   * clock says (`expiresUnixMs`) is for people.
   */
  readonly heldUntil: number;
  readonly expiresUnixMs: bigint;
}

/** Secrets lie in locked memory, and are gone at the end of a `using` block. */
export interface Unsealed extends Disposable {
  /** 32 bytes; empty after the end. */
  readonly diskKey: Buffer;
  /** 32 bytes. */
  readonly headerMacKey: Buffer;
  /** The disk is to be formatted, with `uuid`; otherwise the disk that was described is to be opened. */
  readonly format: boolean;
  readonly uuid: string;
  readonly generation: number;
  /**
   * The epoch to be on the disk before `commit(uuid, nextEpoch)`. It is the one after the last committed, so after
   * a crash between write and commit the disk may carry it already.
   */
  readonly nextEpoch: bigint;
  readonly lease: HeldLease;
  readonly kmsTimeUnixMs: bigint;
}

export interface UnsealRequest {
  /** The signed enrolment of initdata, byte for byte (DSSE envelope, JSON). */
  readonly enrolment: Uint8Array;
  readonly disk: DiskFacts;
}

interface Channel {
  readonly endpoint: string;
  readonly client: Client;
  readonly credentials: PinnedCredentials;
}

const CLIENT_OPTIONS = {
  "grpc.max_receive_message_length": 1024 * 1024,
  // Nothing from the environment or DNS decides where a request goes, and repeating is the caller's.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_retries": 0,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
};

const crypto = nodeCrypto();

/** What a caller may get at any call: KMS_UNREACHABLE, KMS_UNTRUSTED, KMS_BUSY, CANCELLED, and the KMS's own codes. */
export class KmsConnection implements Disposable {
  readonly #options: KmsConnectionOptions;
  readonly #nodeSpki: Buffer;
  #next = 0;
  #channel: Channel | undefined;

  constructor(options: KmsConnectionOptions) {
    if (options.endpoints.length === 0)
      throw new SealetError("CONFIG_INVALID", "No endpoint of a KMS is named");
    if (options.spkiSha256.length !== 32)
      throw new SealetError("CONFIG_INVALID", "The KMS's pin is not 32 bytes");
    this.#options = options;
    this.#nodeSpki = spkiOf(options.identity.certificate);
  }

  /** @throws EVIDENCE_REFUSED, ENROLMENT_INVALID, NODE_UNKNOWN, LEASE_HELD, DISK_*, RELEASE_REFUSED, ... */
  unseal(request: UnsealRequest, signal: AbortSignal): Promise<Unsealed> {
    return this.#withFreshNonce(signal, async (channel, nonce, requestedAt) => {
      const kem = await createKemKey();
      const body = Buffer.from(
        UnsealBody.encode({
          nonce,
          enrolment: Buffer.from(request.enrolment),
          kemPublicKey: kem.publicKey,
          disk: request.disk,
          agentVersion: this.#options.agentVersion,
        }).finish(),
      );
      const bound = await this.#reportData("unseal", channel, nonce, kem.publicKey, body);
      const evidence = await this.#evidence(bound, signal);
      const { client } = channel;
      const answer = await call(client, KmsService.unseal, { body, evidence }, this.#limits(signal));
      return unsealed(await unwrap(kem, bound, answer), requestedAt);
    });
  }

  /** The disk carries this epoch now. May be repeated. @throws LEASE_LOST, RELEASE_REFUSED */
  async commit(uuid: string, epoch: bigint, signal: AbortSignal): Promise<void> {
    await this.#atAnEndpoint(({ client }) =>
      call(client, KmsService.commit, { uuid, epoch }, this.#limits(signal)),
    );
  }

  /**
   * After the commit. PKCS#10 as DER; both name `CN=system:node:NAME, O=system:nodes`.
   * @throws LEASE_LOST, ENROL_REFUSED
   */
  enrol(
    requests: { readonly client: Uint8Array; readonly serving: Uint8Array },
    signal: AbortSignal,
  ): Promise<EnrolResponse> {
    const message = { clientCsr: Buffer.from(requests.client), servingCsr: Buffer.from(requests.serving) };
    return this.#atAnEndpoint(({ client }) => call(client, KmsService.enrol, message, this.#limits(signal)));
  }

  /** Gives evidence anew. @throws EVIDENCE_REFUSED, LEASE_LOST, NODE_UNKNOWN: upon which the node locks */
  renew(leaseId: string, signal: AbortSignal): Promise<HeldLease> {
    return this.#withFreshNonce(signal, async (channel, nonce, requestedAt) => {
      const body = Buffer.from(RenewBody.encode({ nonce, leaseId }).finish());
      const bound = await this.#reportData("renew", channel, nonce, Buffer.alloc(0), body);
      const evidence = await this.#evidence(bound, signal);
      const { client } = channel;
      const answer = await call(client, KmsService.renew, { body, evidence }, this.#limits(signal));
      return heldLease(answer.lease, requestedAt);
    });
  }

  /** Gives the lease back, at a clean shutdown. */
  async release(leaseId: string, signal: AbortSignal): Promise<void> {
    await this.#atAnEndpoint(({ client }) =>
      call(client, KmsService.release, { leaseId }, this.#limits(signal)),
    );
  }

  close(): void {
    this.#channel?.client.close();
    this.#channel = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #limits(signal: AbortSignal): CallLimits {
    return { timeoutMs: this.#options.callTimeoutMs ?? 10_000, signal, unreachable: "KMS_UNREACHABLE" };
  }

  /** Whatever a source says when it is interrupted, it was the caller who did it. */
  #evidence(bound: Buffer, signal: AbortSignal): Promise<Evidence> {
    return this.#options.evidence(bound, signal).catch((thrown: unknown) => {
      throw signal.aborted ? cancelled(signal) : thrown;
    });
  }

  async #reportData(
    purpose: "unseal" | "renew",
    { credentials }: Channel,
    nonce: Buffer,
    kemPublicKey: Buffer,
    body: Buffer,
  ): Promise<Buffer> {
    const kmsSpki = credentials.serverSpki;
    if (kmsSpki === undefined) throw new SealetError("INTERNAL", "The channel has no server key");
    const binding = { purpose, nonce, kmsSpki, nodeSpki: this.#nodeSpki, kemPublicKey, body };
    return Buffer.from(await reportData(crypto, binding));
  }

  /** A nonce may run out while the TEE takes its time: then once more, with a new one. */
  #withFreshNonce<T>(
    signal: AbortSignal,
    ask: (channel: Channel, nonce: Buffer, requestedAt: number) => Promise<T>,
  ): Promise<T> {
    const once = () =>
      this.#atAnEndpoint(async (channel) => {
        const requestedAt = performance.now();
        return ask(channel, await this.#challenge(channel, signal), requestedAt);
      });
    return once().catch((error: unknown) => {
      if (error instanceof SealetError && error.code === "NONCE_INVALID") return once();
      throw error;
    });
  }

  async #challenge({ client }: Channel, signal: AbortSignal): Promise<Buffer> {
    const request = { versions: [...PROTOCOL_VERSIONS], tee: this.#options.tee, nonce: randomBytes(32) };
    const answer = await call(client, KmsService.challenge, request, this.#limits(signal));
    if (!PROTOCOL_VERSIONS.includes(answer.version))
      throw new SealetError("PROTOCOL_VERSION", "The KMS chose a version that this agent does not speak", {
        expected: PROTOCOL_VERSIONS.join(", "),
        found: String(answer.version),
      });
    if (answer.nonce.length !== 32) throw malformed("nonce", "32 bytes", `${answer.nonce.length} bytes`);
    return answer.nonce;
  }

  /** Runs the whole operation at one endpoint; goes on to the next only where nobody, or the wrong one, answered. */
  async #atAnEndpoint<T>(operation: (channel: Channel) => Promise<T>): Promise<T> {
    const { endpoints } = this.#options;
    const problems: { endpoint: string; error: SealetError }[] = [];
    for (let tried = 0; tried < endpoints.length; tried++) {
      const channel = this.#open();
      try {
        return await operation(channel);
      } catch (thrown) {
        const failed = asSealetError(thrown);
        if (failed.code !== "KMS_UNREACHABLE") throw failed;
        const error = channel.credentials.refusal ?? failed;
        // A new channel each time: gRPC's own back-off must not answer in the KMS's place.
        this.close();
        this.#next = (this.#next + 1) % endpoints.length;
        problems.push({ endpoint: channel.endpoint, error });
      }
    }
    const worst = problems.find(({ error }) => error.code === "KMS_UNTRUSTED") ?? problems[0];
    const summary = problems.map(({ endpoint, error }) => `${endpoint}: ${error.message}`).join("; ");
    throw new SealetError(worst?.error.code ?? "KMS_UNREACHABLE", `No KMS could be asked: ${summary}`, {
      cause: worst?.error,
      expected: worst?.error.expected,
      found: worst?.error.found,
    });
  }

  #open(): Channel {
    if (this.#channel !== undefined) return this.#channel;
    const endpoint = this.#options.endpoints[this.#next] ?? "";
    const credentials = new PinnedCredentials(this.#options.identity, this.#options.spkiSha256);
    const client = new Client(endpoint, credentials, CLIENT_OPTIONS);
    this.#channel = { endpoint, client, credentials };
    return this.#channel;
  }
}

function heldLease(lease: Lease | undefined, requestedAt: number): HeldLease {
  if (lease === undefined) throw malformed("lease", "a lease", "none");
  const durationMs = Number(lease.durationMs);
  // For so long a node keeps its disk open when nobody answers any more.
  if (durationMs < 0 || durationMs > MAX_LEASE_MS)
    throw malformed("lease.duration_ms", `at most ${MAX_LEASE_MS}`, String(lease.durationMs));
  return {
    id: lease.id,
    durationMs,
    heldUntil: requestedAt + durationMs,
    expiresUnixMs: lease.expiresUnixMs,
  };
}

function unsealed(secrets: UnsealSecrets, requestedAt: number): Unsealed {
  const { format, uuid, generation, nextEpoch } = secrets;
  using stack = new DisposableStack();
  const keyOf = (field: string, bytes: Buffer): Buffer => {
    if (bytes.length !== 32) throw malformed(field, "32 bytes", `${bytes.length} bytes`);
    return stack.use(Secret.take(bytes)).bytes;
  };
  const diskKey = keyOf("disk_key", secrets.diskKey);
  const headerMacKey = keyOf("header_mac_key", secrets.headerMacKey);
  // It may become the disk's.
  if (!isUuid(uuid)) throw malformed("uuid", "a UUID", uuid.slice(0, 64));
  const lease = heldLease(secrets.lease, requestedAt);
  const owned = stack.move();
  return {
    diskKey,
    headerMacKey,
    format,
    uuid,
    generation,
    nextEpoch,
    lease,
    kmsTimeUnixMs: secrets.timeUnixMs,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function malformed(predicate: string, expected: string, found: string): SealetError {
  return new SealetError("REQUEST_INVALID", `The KMS's answer is not well-formed: ${predicate}`, {
    predicate,
    expected,
    found,
  });
}
