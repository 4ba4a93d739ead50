/** A client of the key service that does what it likes, with genuine evidence made for whatever it likes. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Client } from "@grpc/grpc-js";
import {
  type AttestedRequest,
  KmsService,
  UnsealBody,
  type UnsealResponse,
} from "../../agent/api/gen/sealet.ts";
import { reportData } from "../../agent/attest/report-data.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { type UnaryMethod, call } from "../../agent/kms/call.ts";
import { PinnedCredentials } from "../../agent/kms/channel.ts";
import { type TlsIdentity, createIdentity, spkiOf } from "../../agent/kms/identity.ts";
import { createKemKey } from "../../agent/kms/wrap.ts";
import { Cluster, Machine, blank, never, twinEvidence } from "./cluster.ts";

const LIMITS = { timeoutMs: 5000, unreachable: "KMS_UNREACHABLE" } as const;

/** A client that does what it likes. */
export class Attacker implements Disposable {
  readonly identity: TlsIdentity;
  readonly #client: Client;
  readonly #credentials: PinnedCredentials;

  constructor(cluster: Cluster, identity: TlsIdentity) {
    this.identity = identity;
    this.#credentials = new PinnedCredentials(identity, cluster.kms.spkiSha256);
    this.#client = new Client(cluster.kms.address, this.#credentials);
  }

  static async of(cluster: Cluster): Promise<Attacker> {
    return new Attacker(cluster, await createIdentity("attacker"));
  }

  ask<Request, Response>(method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    return call(this.#client, method, request, LIMITS);
  }

  async nonce(): Promise<Buffer> {
    const challenge = { versions: [1], tee: "sev-snp", nonce: randomBytes(32) };
    return (await this.ask(KmsService.challenge, challenge)).nonce;
  }

  unseal(request: AttestedRequest): Promise<UnsealResponse> {
    return this.ask(KmsService.unseal, request);
  }

  get kmsSpki(): Buffer {
    return this.#credentials.serverSpki ?? assert.fail("not connected");
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

export interface Forged {
  /** What the evidence was made for, where it is not what is sent. */
  readonly boundTo?: {
    nonce?: Buffer;
    nodeSpki?: Buffer;
    kemPublicKey?: Buffer;
    kmsSpki?: Buffer;
    body?: Buffer;
  };
  readonly body?: Partial<UnsealBody>;
  readonly evidenceOf?: Buffer;
}

const crypto = nodeCrypto();

/** A request as a node makes it, but for what `forged` changes. */
export async function forgeRequest(
  from: Attacker,
  initdata: Buffer,
  enrolment: Buffer,
  forged: Forged = {},
): Promise<AttestedRequest> {
  const nonce = forged.body?.nonce ?? (await from.nonce());
  const kem = await createKemKey();
  const parts = {
    nonce,
    enrolment,
    kemPublicKey: kem.publicKey,
    disk: blank(),
    agentVersion: "x",
    ...forged.body,
  };
  const body = Buffer.from(UnsealBody.encode(parts).finish());
  const bound = await reportData(crypto, {
    purpose: "unseal",
    nonce,
    kmsSpki: from.kmsSpki,
    nodeSpki: spkiOf(from.identity.certificate),
    kemPublicKey: parts.kemPublicKey,
    body,
    ...forged.boundTo,
  });
  const evidence = await twinEvidence(forged.evidenceOf ?? initdata)(Buffer.from(bound), never);
  return { body, evidence };
}

/** What an attack is made on: a node that is enrolled and has never started, its machine, and who attacks. */
export class Target implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly initdata: Buffer;
  readonly machine: Machine;
  readonly attacker: Attacker;

  private constructor(cluster: Cluster, initdata: Buffer, machine: Machine, attacker: Attacker) {
    this.cluster = cluster;
    this.initdata = initdata;
    this.machine = machine;
    this.attacker = attacker;
  }

  static async create(): Promise<Target> {
    const cluster = await Cluster.start();
    const initdata = await cluster.addNode("w1");
    const machine = await Machine.boot(cluster, initdata);
    const attacker = await Attacker.of(cluster);
    await attacker.nonce();
    return new Target(cluster, initdata, machine, attacker);
  }

  get enrolment(): Buffer {
    return this.machine.initdata.enrolment;
  }

  /** The attacker's request. */
  forge(forged: Forged = {}): Promise<AttestedRequest> {
    return forgeRequest(this.attacker, this.initdata, this.enrolment, forged);
  }

  /** The code, that nothing was released or changed, and that the refusal was written down. */
  async refused(promise: Promise<unknown>, code: string, predicate?: string): Promise<void> {
    await assert.rejects(promise, predicate === undefined ? { code } : { code, predicate });
    const { diskState, lease } = await this.cluster.record("w1");
    assert.deepEqual([diskState, lease], ["expects-blank", undefined]);
    const entries = await this.cluster.audit();
    const last = entries.at(-1);
    assert.deepEqual([last?.action, last?.code], ["refusal", code]);
    assert.ok(entries.every(({ action }) => action !== "release"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.machine[Symbol.dispose]();
    this.attacker[Symbol.dispose]();
    assert.deepEqual(this.cluster.defects, []);
    await this.cluster[Symbol.asyncDispose]();
  }
}
