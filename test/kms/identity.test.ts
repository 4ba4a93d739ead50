/** Who a machine is, and which disk is its: attempts to be another, or to be two. */
import assert from "node:assert/strict";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { ENROLMENT_TYPE } from "../../agent/config/enrolment.ts";
import { parseEnvelope } from "../../agent/attest/dsse.ts";
import { POLICY_PAYLOAD_TYPE } from "../../agent/attest/policy.ts";
import { type Attacker, Target, forgeRequest } from "./attacker.ts";
import { type Cluster, Machine, blank, codeOf, never } from "./cluster.ts";

describe("KMS, identities and leases", () => {
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

  const present = async (enrolment: Buffer) =>
    attacker.unseal(await forgeRequest(attacker, initdata, enrolment));

  describe("I6", () => {
    it("a second machine with the same identity is refused while the lease lives, then served", async () => {
      const { key } = await machine.start();
      using second = await Machine.boot(cluster, initdata);
      second.disk = machine.disk;
      await assert.rejects(second.unseal(), { code: "LEASE_HELD" });
      cluster.clock.ahead += 299_000;
      await assert.rejects(second.unseal(), { code: "LEASE_HELD" });
      assert.equal((await cluster.record("w1")).epoch, 1n);
      cluster.clock.ahead += 2_000;
      assert.deepEqual((await second.start()).key, key);
      // The first one has lost it, whatever it does.
      await assert.rejects(machine.connection.commit(machine.disk.uuid, 2n, never), { code: "LEASE_LOST" });
      await assert.rejects(machine.unseal(), { code: "LEASE_HELD" });
    });

    it("of two machines that unseal at once only one gets the lease", async () => {
      for (let round = 0; round < 5; round++) {
        const name = `race-${round}`;
        const document = await cluster.addNode(name);
        const machines = await Promise.all(Array.from({ length: 6 }, () => Machine.boot(cluster, document)));
        const codes = await Promise.all(machines.map((each) => codeOf(each.unseal())));
        for (const each of machines) each[Symbol.dispose]();
        assert.deepEqual(codes.toSorted(), [...Array<string>(5).fill("LEASE_HELD"), "OK"]);
      }
    });

    it("an operator ends a lease, and the next machine is served at once", async () => {
      const { leaseId } = await machine.start();
      await withOperator(cluster.kms.socket, (ask) => ask(METHOD.releaseNode, { name: "w1" }));
      await assert.rejects(machine.connection.renew(leaseId, never), { code: "LEASE_LOST" });
      using second = await Machine.boot(cluster, initdata);
      second.disk = machine.disk;
      await second.start();
    });

    it("another node's disk is refused", async () => {
      using other = await Machine.boot(cluster, await cluster.addNode("w2"));
      await other.start();
      machine.disk = other.disk;
      await assert.rejects(machine.unseal(), { code: "DISK_UNEXPECTED" });
      machine.disk = blank();
      await machine.start();
      machine.disk = other.disk;
      await assert.rejects(machine.unseal(), { code: "DISK_UNEXPECTED" });
      machine.disk = blank();
      await assert.rejects(machine.unseal(), { code: "DISK_BLANKED" });
      machine.disk = { ...blank(), state: "foreign" };
      await assert.rejects(machine.unseal(), { code: "DISK_FOREIGN" });
    });

    it("another node's machine, with its genuine evidence, does not get this node's keys", async () => {
      const other = await cluster.addNode("w2");
      const forged = await target.forge({ evidenceOf: other });
      await target.refused(attacker.unseal(forged), "EVIDENCE_REFUSED", "snp.host-data");
    });

    it("role and name come from the operator's signed enrolment only", async () => {
      const { operator } = cluster;
      const claims = { ...machine.initdata.claimed, role: "control-plane" };
      const genuine = parseEnvelope(target.enrolment);
      assert.ok(genuine.ok);
      const sig = Buffer.from(genuine.value.signatures[0]?.sig ?? []).toString("base64");
      for (const forged of [
        envelope(claims, operator.keyid, Buffer.alloc(64).toString("base64")),
        envelope(claims, "00".repeat(32), Buffer.alloc(64).toString("base64")),
        envelope(claims, operator.keyid, sig),
        Buffer.alloc(0),
      ])
        await target.refused(present(forged), "ENROLMENT_INVALID");
      // Signed by the operator, but as something else, or not what was enrolled, or for another cluster.
      const payload = Buffer.from(JSON.stringify(claims));
      const foreign = Buffer.from(JSON.stringify({ ...claims, cluster: "test" }));
      for (const [predicate, signed] of [
        ["enrolment.signature", operator.sign(POLICY_PAYLOAD_TYPE, payload)],
        ["enrolment", operator.sign(ENROLMENT_TYPE, payload)],
        ["enrolment.cluster", operator.sign(ENROLMENT_TYPE, foreign)],
      ] as const)
        await target.refused(present(signed), "ENROLMENT_INVALID", predicate);
    });

    it("whether a node exists is told to nobody without a signed enrolment", async () => {
      const answers = await Promise.all(
        ["w1", "nobody"].map(async (node) => {
          const zero = Buffer.alloc(64).toString("base64");
          const forged = envelope({ ...machine.initdata.claimed, node }, cluster.operator.keyid, zero);
          const message = await forgeRequest(attacker, initdata, forged);
          return attacker.unseal(message).catch((error: unknown) => String(error));
        }),
      );
      assert.equal(answers[0], answers[1]);
    });

    it("a removed node is not served, nor renewed, and its successor has other keys", async () => {
      const { key, leaseId } = await machine.start();
      const order = (method: "removeNode" | "releaseNode") =>
        withOperator(cluster.kms.socket, (ask) => ask(METHOD[method], { name: "w1" }));
      // its successor would run beside it
      await assert.rejects(order("removeNode"), { code: "LEASE_HELD" });
      await order("releaseNode");
      await order("removeNode");
      await assert.rejects(machine.connection.renew(leaseId, never), { code: "LEASE_LOST" });
      await assert.rejects(machine.unseal(), { code: "NODE_UNKNOWN" });
      const again = await cluster.addNode("w1");
      using successor = await Machine.boot(cluster, again);
      assert.notDeepEqual((await successor.start()).key, key);
    });

    it("keys of the old disk are gone with reset-disk, which waits for the lease's end", async () => {
      const { key } = await machine.start();
      const reset = () => withOperator(cluster.kms.socket, (ask) => ask(METHOD.resetDisk, { name: "w1" }));
      assert.equal(await codeOf(reset()), "LEASE_HELD");
      await withOperator(cluster.kms.socket, (ask) => ask(METHOD.releaseNode, { name: "w1" }));
      await reset();
      const old = machine.disk;
      await assert.rejects(machine.unseal(), { code: "DISK_UNEXPECTED" });
      machine.disk = blank();
      const fresh = await machine.start();
      assert.notDeepEqual(fresh.key, key);
      assert.notEqual(machine.disk.uuid, old.uuid);
      assert.equal(machine.disk.epoch, 1n);
    });
  });
});

function envelope(claims: object, keyid: string, sig: string): Buffer {
  const payload = Buffer.from(JSON.stringify(claims)).toString("base64");
  return Buffer.from(JSON.stringify({ payloadType: ENROLMENT_TYPE, payload, signatures: [{ keyid, sig }] }));
}
