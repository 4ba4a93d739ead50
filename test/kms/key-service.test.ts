/** The key service without its transport: a test stands between what it reads, what it judges and what it decides. */
import assert from "node:assert/strict";
import { createPublicKey, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DiskFacts, UnsealBody, UnsealSecrets } from "../../agent/api/gen/sealet.ts";
import { POLICY_PAYLOAD_TYPE } from "../../agent/attest/policy.ts";
import { reportData } from "../../agent/attest/report-data.ts";
import { createOperatorKey, openOperatorKey } from "../../agent/cli/sign.ts";
import { ENROLMENT_TYPE } from "../../agent/config/enrolment.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { spkiDigest } from "../../agent/kms/identity.ts";
import { KeyService } from "../../agent/kms/key-service.ts";
import { OperatorService } from "../../agent/kms/operator-service.ts";
import type { Peer } from "../../agent/kms/peer.ts";
import { PolicyInForce } from "../../agent/kms/policy-in-force.ts";
import { createRootKeyFile, readRootKeyFile } from "../../agent/kms/root-key.ts";
import { SqliteStore } from "../../agent/kms/sqlite.ts";
import type { Verifier } from "../../agent/kms/verifier.ts";
import { createKemKey, unwrap } from "../../agent/kms/wrap.ts";
import { blank, codeOf, sealed } from "./cluster.ts";

const SPKI = Buffer.from("the KMS");
const EMPTY = Buffer.alloc(0);
const nodeSpki = Buffer.from("a node");
const peer: Peer = {
  spki: nodeSpki,
  holder: spkiDigest(nodeSpki).toString("hex"),
  address: "127.0.0.1:1",
  group: "127.0.0.1",
};
const now = () => 1_000_000;
const isWiped = (bytes: Uint8Array) => bytes.every((byte) => byte === 0);

/** A key service on a store of its own, its operator, and one node's machine. */
class Desk implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "sealet-desk-"));
  readonly #root;
  readonly #operator;
  readonly store: SqliteStore;
  readonly service: KeyService;
  readonly operators: OperatorService;
  /** Every key that was derived: the buffers themselves. */
  readonly derived: Buffer[] = [];
  /** What happens while evidence is judged, and while certificates are signed. */
  judging: () => Promise<unknown> = () => Promise.resolve();
  signing: () => Promise<unknown> = () => Promise.resolve();
  #enrolment: Buffer = EMPTY;

  constructor() {
    const path = (name: string) => join(this.folder, name);
    createOperatorKey(path("operator.key"), path("operator.pub"));
    this.#operator = openOperatorKey(path("operator.key"));
    createRootKeyFile(path("root.key"));
    this.#root = readRootKeyFile(path("root.key"));
    const operators = [
      createPublicKey(readFileSync(path("operator.pub"))).export({ type: "spki", format: "der" }),
    ];
    this.store = new SqliteStore(path("kms.db"), now);
    const verifier: Verifier = {
      readPolicy: (payload) => {
        const { version, accepted }: { version: number; accepted: boolean } = JSON.parse(
          Buffer.from(payload).toString(),
        );
        const verdict = { accepted, tee: "sev-snp", predicates: [], notEvaluated: [], claims: {} };
        return { version: BigInt(version), appraise: () => this.judging().then(() => verdict) };
      },
    };
    const parts = { cluster: "prod", store: this.store, operators, now };
    this.service = new KeyService({
      ...parts,
      facts: { apiServers: [], kubeletConfiguration: "{}", podCidr: String },
      root: {
        derive: (name) => {
          const key = this.#root.derive(name);
          this.derived.push(key);
          return key;
        },
        [Symbol.dispose]: () => undefined,
      },
      ca: {
        certificate: EMPTY,
        sign: () => this.signing().then(() => ({ client: EMPTY, serving: EMPTY })),
      },
      policy: new PolicyInForce(this.store, verifier, operators, "prod"),
      spki: SPKI,
      limits: {
        leaseMs: 300_000,
        nonces: { lifetimeMs: 60_000, perPeer: 16, total: 16 },
        refusalsPerMinute: 100,
        appraisals: 4,
      },
    });
    const spkiSha256 = spkiDigest(SPKI);
    this.operators = new OperatorService({ ...parts, endpoints: [], spkiSha256, verifier, podCidr: String });
  }

  static async open(): Promise<Desk> {
    const desk = new Desk();
    await desk.applyPolicy(1, true);
    await desk.enrol("addNode");
    return desk;
  }

  applyPolicy(version: number, accepted: boolean): Promise<unknown> {
    const payload = Buffer.from(JSON.stringify({ version, accepted }));
    return this.operators.applyPolicy({ policy: this.#operator.sign(POLICY_PAYLOAD_TYPE, payload) });
  }

  async enrol(as: "addNode" | "reissueNode", role = "worker"): Promise<void> {
    const claims = {
      cluster: "prod",
      node: "w1",
      role,
      serial: "00".repeat(16),
      created: new Date(0).toISOString(),
    };
    this.#enrolment = this.#operator.sign(ENROLMENT_TYPE, Buffer.from(JSON.stringify(claims)));
    const digests = { initdataSha256: Buffer.alloc(32), initdataSha384: Buffer.alloc(48) };
    await this.operators[as]({ enrolment: this.#enrolment, ...digests });
  }

  async unseal(disk: DiskFacts = blank()): Promise<UnsealSecrets> {
    const request = { versions: [1], tee: "sev-snp", nonce: randomBytes(32) };
    const { nonce } = await this.service.challenge(request, peer);
    const kem = await createKemKey();
    const { publicKey: kemPublicKey } = kem;
    const enrolment = this.#enrolment;
    const body = Buffer.from(
      UnsealBody.encode({ nonce, enrolment, kemPublicKey, disk, agentVersion: "test" }).finish(),
    );
    const bound = { purpose: "unseal", nonce, kmsSpki: SPKI, nodeSpki, kemPublicKey, body } as const;
    const evidence = { tee: "sev-snp", report: EMPTY, auxiliary: EMPTY, eventLog: EMPTY };
    const answer = await this.service.unseal({ body, evidence }, peer);
    return unwrap(kem, await reportData(nodeCrypto(), bound), answer);
  }

  /** Unsealed, and its epoch committed. */
  async start(disk?: DiskFacts): Promise<UnsealSecrets> {
    const secrets = await this.unseal(disk);
    await this.service.commit({ uuid: secrets.uuid, epoch: secrets.nextEpoch }, peer);
    return secrets;
  }

  /** Of the audit log. */
  async actions(): Promise<string[]> {
    return (await this.store.listAudit(0n, 100)).map(({ action }) => action);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close();
    this.#root[Symbol.dispose]();
    rmSync(this.folder, { recursive: true });
  }
}

describe("Key service", () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await Desk.open();
  });
  afterEach(() => desk[Symbol.asyncDispose]());

  it("I9 wipes the keys, and every encoding of them, once they are wrapped and unwrapped", async () => {
    const seen: Uint8Array[] = [];
    const encode = UnsealSecrets.encode.bind(UnsealSecrets);
    const decode = UnsealSecrets.decode.bind(UnsealSecrets);
    UnsealSecrets.encode = (message, writer) => {
      const written = encode(message, writer);
      const finish = written.finish.bind(written);
      return Object.assign(written, { finish: () => seen[seen.push(finish()) - 1] });
    };
    UnsealSecrets.decode = (input, length) => {
      if (input instanceof Uint8Array) seen.push(input);
      return decode(input, length);
    };
    try {
      const { diskKey, headerMacKey } = await desk.unseal();
      assert.ok(!isWiped(diskKey) && !isWiped(headerMacKey));
    } finally {
      Object.assign(UnsealSecrets, { encode, decode });
    }
    assert.deepEqual([seen.length, desk.derived.length], [2, 2]);
    for (const bytes of [...seen, ...desk.derived]) assert.ok(isWiped(bytes));
  });

  it("I5 a policy that comes into force while evidence is judged decides", async () => {
    desk.judging = () => {
      desk.judging = () => Promise.resolve();
      return desk.applyPolicy(2, false);
    };
    assert.equal(await codeOf(desk.unseal()), "EVIDENCE_REFUSED");
    assert.deepEqual(desk.derived, []);
  });

  it("I5 a policy of the database that no operator signed is not believed", async () => {
    const path = join(desk.folder, "stranger");
    createOperatorKey(path, `${path}.pub`);
    const payload = Buffer.from(JSON.stringify({ version: 5, accepted: true }));
    const envelope = openOperatorKey(path).sign(POLICY_PAYLOAD_TYPE, payload);
    const entry = { action: "policy", node: "", code: "OK", detail: {} } as const;
    assert.equal(await desk.store.replacePolicy({ version: 5n, envelope }, entry), true);
    assert.equal(await codeOf(desk.unseal()), "SIGNATURE_INVALID");
    assert.deepEqual(desk.derived, []);
  });

  it("judges so much evidence at once and no more, and goes on when it is done", async () => {
    const full = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    let judged = 0;
    desk.judging = () => {
      if (++judged === 4) full.resolve();
      return done.promise;
    };
    const asked = Array.from({ length: 4 }, () => codeOf(desk.unseal()));
    await full.promise;
    assert.equal(await codeOf(desk.unseal()), "KMS_BUSY");
    done.resolve();
    assert.deepEqual(await Promise.all(asked), Array(4).fill("OK"));
    assert.equal(await codeOf(desk.unseal()), "OK");
  });

  it("I6 a node that is removed and added anew while its evidence is judged gets no keys", async () => {
    desk.judging = async () => {
      await desk.operators.removeNode({ name: "w1" });
      await desk.enrol("addNode");
    };
    assert.equal(await codeOf(desk.unseal()), "NODE_UNKNOWN");
    assert.deepEqual(desk.derived, []);
  });

  it("I6 hands out no certificates for a lease that ended while they were signed", async () => {
    await desk.start();
    desk.signing = () => desk.operators.releaseNode({ name: "w1" });
    const enrolled = desk.service.enrol({ clientCsr: EMPTY, servingCsr: EMPTY }, peer);
    assert.equal(await codeOf(enrolled), "LEASE_LOST");
    assert.ok(!(await desk.actions()).includes("enrol"));
  });

  it("I6 a role has keys of its own, on the same record and disk", async () => {
    const worker = await desk.start();
    await desk.operators.releaseNode({ name: "w1" });
    await desk.enrol("reissueNode", "control-plane");
    const { uuid, diskKey, headerMacKey } = await desk.unseal(sealed(worker.uuid, 1n));
    assert.equal(uuid, worker.uuid);
    assert.notDeepEqual(diskKey, worker.diskKey);
    assert.notDeepEqual(headerMacKey, worker.headerMacKey);
  });
});
