/** Evidence, nonces and answers that are carried from where they belong to where they do not. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { KmsService, RenewBody, UnsealBody } from "../../agent/api/gen/sealet.ts";
import { reportData } from "../../agent/attest/report-data.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { createIdentity, spkiOf } from "../../agent/kms/identity.ts";
import { createKemKey, unwrap } from "../../agent/kms/wrap.ts";
import { Attacker, Target, forgeRequest } from "./attacker.ts";
import { type Cluster, type Machine, blank, codeOf, never, sealed, twinEvidence } from "./cluster.ts";

describe("KMS, relays and replays", () => {
  let target: Target;
  let cluster: Cluster;
  let initdata: Buffer;
  let machine: Machine;
  let attacker: Attacker;
  beforeEach(async () => {
    target = await Target.create();
    ({ cluster, initdata, machine, attacker } = target);
  });
  afterEach(() => target[Symbol.asyncDispose]());

  it("lets the unforged request through, so that the refusals below are for their reason", async () => {
    await attacker.unseal(await target.forge());
    assert.equal((await cluster.record("w1")).diskState, "formatting");
  });

  describe("I1 evidence of another CVM is relayed", () => {
    it("over another TLS key than the one it was made for", async () => {
      const nodeSpki = spkiOf(machine.identity.certificate);
      const forged = await target.forge({ boundTo: { nodeSpki } });
      await target.refused(attacker.unseal(forged), "EVIDENCE_REFUSED", "snp.report-data");
    });

    it("with another KEM key, so that the keys would be wrapped to the attacker", async () => {
      const kemPublicKey = (await createKemKey()).publicKey;
      const forged = await target.forge({ boundTo: { kemPublicKey } });
      await target.refused(attacker.unseal(forged), "EVIDENCE_REFUSED", "snp.report-data");
    });

    it("made for another KMS", async () => {
      const kmsSpki = spkiOf((await createIdentity("evil")).certificate);
      const forged = await target.forge({ boundTo: { kmsSpki } });
      await target.refused(attacker.unseal(forged), "EVIDENCE_REFUSED", "snp.report-data");
    });

    it("with the disk's facts exchanged after it was made", async () => {
      const good = await target.forge();
      const changed = { ...UnsealBody.decode(good.body), disk: sealed(globalThis.crypto.randomUUID(), 7n) };
      const forged = { ...good, body: Buffer.from(UnsealBody.encode(changed).finish()) };
      await target.refused(attacker.unseal(forged), "EVIDENCE_REFUSED", "snp.report-data");
    });

    it("made for a renewal", async () => {
      const { leaseId } = await machine.start();
      // The machine's own evidence of an unsealing, sent as a renewal over its own channel.
      using same = new Attacker(cluster, machine.identity);
      const unseal = await forgeRequest(same, initdata, target.enrolment);
      const before = await cluster.record("w1");
      assert.equal(await codeOf(same.ask(KmsService.renew, unseal)), "EVIDENCE_REFUSED");
      assert.equal((await cluster.record("w1")).lease?.id, before.lease?.id);
      assert.equal(before.lease?.id, leaseId);
    });
  });

  describe("I1 a nonce", () => {
    it("that was used is refused, and so is the whole request again", async () => {
      const good = await target.forge();
      await attacker.unseal(good);
      const before = await cluster.record("w1");
      assert.equal(await codeOf(attacker.unseal(good)), "NONCE_INVALID");
      assert.deepEqual((await cluster.record("w1")).lease?.id, before.lease?.id);
    });

    it("of a refused request is used up, too", async () => {
      const nonce = await attacker.nonce();
      const bad = await target.forge({
        body: { nonce },
        boundTo: { nonce: randomBytes(32) },
      });
      await target.refused(attacker.unseal(bad), "EVIDENCE_REFUSED");
      const good = await target.forge({ body: { nonce } });
      await target.refused(attacker.unseal(good), "NONCE_INVALID");
    });

    it("of the attacker's own making is refused", async () => {
      const nonce = randomBytes(32);
      const forged = await target.forge({ body: { nonce } });
      await target.refused(attacker.unseal(forged), "NONCE_INVALID");
    });

    it("given to another key is refused, and not used up by it", async () => {
      using owner = await Attacker.of(cluster);
      const nonce = await owner.nonce();
      const stolen = await target.forge({ body: { nonce } });
      await target.refused(attacker.unseal(stolen), "NONCE_INVALID");
      await owner.unseal(await forgeRequest(owner, initdata, target.enrolment, { body: { nonce } }));
    });

    it("of a renewal is good once, and for who asked for it", async () => {
      const { leaseId } = await machine.start();
      using same = new Attacker(cluster, machine.identity);
      const renewal = async (nonce: Buffer) => {
        const body = Buffer.from(RenewBody.encode({ nonce, leaseId }).finish());
        const keys = { kmsSpki: same.kmsSpki, nodeSpki: spkiOf(machine.identity.certificate) };
        const bound = { purpose: "renew", nonce, ...keys, kemPublicKey: Buffer.alloc(0), body } as const;
        const signed = Buffer.from(await reportData(nodeCrypto(), bound));
        return { body, evidence: await twinEvidence(initdata)(signed, never) };
      };
      const good = await renewal(await same.nonce());
      await same.ask(KmsService.renew, good);
      for (const request of [good, await renewal(randomBytes(32)), await renewal(await attacker.nonce())])
        assert.equal(await codeOf(same.ask(KmsService.renew, request)), "NONCE_INVALID");
    });

    it("that has expired is refused", async () => {
      const good = await target.forge();
      cluster.clock.ahead += 120_001;
      await target.refused(attacker.unseal(good), "NONCE_INVALID");
    });

    it("of before a restart is refused", async () => {
      const good = await target.forge();
      await cluster.restart();
      using again = new Attacker(cluster, attacker.identity);
      await target.refused(again.unseal(good), "NONCE_INVALID");
    });
  });

  it("refuses keys to wrap to that are none, and disks that are not described", async () => {
    const disk = blank();
    const uuid = globalThis.crypto.randomUUID();
    for (const [body, predicate] of [
      [{ kemPublicKey: Buffer.alloc(1215) }, "kem_public_key"],
      [{ kemPublicKey: Buffer.alloc(1216, 0xff) }, "kem_public_key"],
      [{ disk: undefined }, "disk"],
      [{ disk: { ...disk, state: "new" } }, "disk.state"],
      [{ disk: { ...disk, state: "sealed" } }, "disk.uuid"],
      [{ disk: { ...disk, uuid: "x" } }, "disk.uuid"],
      [{ disk: { ...sealed(uuid, 1n), headerDigest: Buffer.alloc(31) } }, "disk.header_digest"],
      [{ disk: sealed(uuid, 2n ** 53n) }, "disk.epoch"],
    ] as const)
      await target.refused(attacker.unseal(await target.forge({ body })), "REQUEST_INVALID", predicate);
  });

  it("I1 the answer opens for no other request", async () => {
    const kem = await createKemKey();
    const good = await target.forge({ body: { kemPublicKey: kem.publicKey } });
    const answer = await attacker.unseal(good);
    await assert.rejects(unwrap(kem, randomBytes(64), answer), { code: "REQUEST_INVALID" });
    await assert.rejects(unwrap(await createKemKey(), randomBytes(64), answer), { code: "REQUEST_INVALID" });
  });
});
