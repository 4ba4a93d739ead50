import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Cluster, Machine, blank, never, sealed, twinEvidence } from "./cluster.ts";

const REFUSED = (code: string) => ({ code });

describe("KMS, a node's life", () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await Cluster.start();
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  it("formats at the first boot, opens the same disk with the same keys at the next", async () => {
    const initdata = await cluster.addNode("w1");
    using first = await Machine.boot(cluster, initdata);
    using unsealed = await first.unseal();
    assert.equal(unsealed.format, true);
    assert.equal(unsealed.nextEpoch, 1n);
    const keys = [Buffer.from(unsealed.diskKey), Buffer.from(unsealed.headerMacKey)];
    assert.notDeepEqual(keys[0], keys[1]);
    assert.equal((await cluster.record("w1")).diskState, "formatting");
    await first.connection.commit(unsealed.uuid, 1n, never);
    assert.equal((await cluster.record("w1")).diskState, "sealed");
    await first.connection.release(unsealed.lease.id, never);
    assert.equal((await cluster.record("w1")).lease, undefined);

    using second = await Machine.boot(cluster, initdata);
    second.disk = sealed(unsealed.uuid, 1n);
    using again = await second.unseal();
    assert.deepEqual(
      [again.format, again.uuid, again.nextEpoch, again.diskKey, again.headerMacKey],
      [false, unsealed.uuid, 2n, ...keys],
    );
    await second.connection.commit(unsealed.uuid, 2n, never);
    assert.equal((await cluster.record("w1")).epoch, 2n);
    assert.deepEqual(await cluster.history(), [
      "collateral OK",
      "policy OK",
      "node OK",
      "release OK",
      "commit OK",
      "return OK",
      "release OK",
      "commit OK",
    ]);
  });

  it("wipes the keys at the end of their scope", async () => {
    using machine = await Machine.boot(cluster, await cluster.addNode("w1"));
    const unsealed = await machine.unseal();
    assert.equal(unsealed.diskKey.length, 32);
    unsealed[Symbol.dispose]();
    assert.equal(unsealed.diskKey.length, 0);
    assert.equal(unsealed.headerMacKey.length, 0);
  });

  it("gives every node keys of its own", async () => {
    using one = await Machine.boot(cluster, await cluster.addNode("w1"));
    using two = await Machine.boot(cluster, await cluster.addNode("w2"));
    assert.notDeepEqual((await one.start()).key, (await two.start()).key);
  });

  it("I10 power fails between write and commit, again and again: the disk stays good", async () => {
    const initdata = await cluster.addNode("w1");
    using first = await Machine.boot(cluster, initdata);
    const { key } = await first.start();
    for (let crash = 0; crash < 4; crash++) {
      cluster.clock.ahead += 3_600_000;
      using machine = await Machine.boot(cluster, initdata);
      machine.disk = first.disk;
      using unsealed = await machine.unseal();
      assert.equal(unsealed.nextEpoch, 2n);
      assert.deepEqual(unsealed.diskKey, key);
      first.disk = sealed(unsealed.uuid, unsealed.nextEpoch);
    }
    cluster.clock.ahead += 3_600_000;
    using last = await Machine.boot(cluster, initdata);
    last.disk = first.disk;
    assert.deepEqual((await last.start()).key, key);
    assert.equal((await cluster.record("w1")).epoch, 2n);
  });

  it("I10 power fails in the first format: the same disk is formatted again, under the same uuid", async () => {
    const initdata = await cluster.addNode("w1");
    using first = await Machine.boot(cluster, initdata);
    using unsealed = await first.unseal();
    for (const disk of [blank(), { ...sealed(unsealed.uuid, 0n), state: "interrupted" }]) {
      cluster.clock.ahead += 3_600_000;
      using machine = await Machine.boot(cluster, initdata);
      machine.disk = disk;
      using again = await machine.unseal();
      assert.deepEqual(
        [again.format, again.uuid, again.nextEpoch, again.diskKey],
        [true, unsealed.uuid, 1n, unsealed.diskKey],
      );
    }
    // Sealed, but the commit was lost: open, don't format.
    cluster.clock.ahead += 3_600_000;
    using machine = await Machine.boot(cluster, initdata);
    machine.disk = sealed(unsealed.uuid, 1n);
    using opened = await machine.unseal();
    assert.deepEqual([opened.format, opened.nextEpoch], [false, 1n]);
  });

  it("serves the holder again after an agent's restart", async () => {
    const initdata = await cluster.addNode("w1");
    using machine = await Machine.boot(cluster, initdata);
    const { key } = await machine.start();
    using restarted = new Machine(cluster.kms.address, initdata, machine.identity);
    restarted.disk = machine.disk;
    assert.deepEqual((await restarted.start()).key, key);
  });

  it("commits once more what was committed, and nothing else", async () => {
    using machine = await Machine.boot(cluster, await cluster.addNode("w1"));
    const commit = (uuid: string, epoch: bigint) => machine.connection.commit(uuid, epoch, never);
    await assert.rejects(commit(crypto.randomUUID(), 1n), REFUSED("LEASE_LOST"));
    using unsealed = await machine.unseal();
    await assert.rejects(commit(crypto.randomUUID(), 1n), REFUSED("RELEASE_REFUSED"));
    await assert.rejects(commit(unsealed.uuid, 0n), REFUSED("RELEASE_REFUSED"));
    await assert.rejects(commit(unsealed.uuid, 2n), REFUSED("RELEASE_REFUSED"));
    await assert.rejects(commit(unsealed.uuid, 2n ** 63n), REFUSED("RELEASE_REFUSED"));
    assert.equal((await cluster.record("w1")).diskState, "formatting");
    await commit(unsealed.uuid, 1n);
    await commit(unsealed.uuid, 1n);
    await assert.rejects(commit(unsealed.uuid, 2n), REFUSED("RELEASE_REFUSED"));
    assert.equal((await cluster.record("w1")).epoch, 1n);
  });

  it("renews the lease by fresh evidence, and knows it by its id", async () => {
    using machine = await Machine.boot(cluster, await cluster.addNode("w1"));
    const { leaseId } = await machine.start();
    cluster.clock.ahead += 200_000;
    const renewed = await machine.connection.renew(leaseId, never);
    assert.equal(renewed.id, leaseId);
    assert.ok(renewed.durationMs > 299_000);
    await assert.rejects(machine.connection.renew("00".repeat(16), never), REFUSED("LEASE_LOST"));
    cluster.clock.ahead += 301_000;
    await assert.rejects(machine.connection.renew(leaseId, never), REFUSED("LEASE_LOST"));
    await assert.rejects(machine.connection.release(leaseId, never), REFUSED("LEASE_LOST"));
  });

  it("I6 counts a lease from before it was asked for, however long the TEE takes", async () => {
    const initdata = await cluster.addNode("w1");
    const evidence = twinEvidence(initdata);
    using machine = await Machine.boot(cluster, initdata, async (bound, signal) => {
      await delay(200);
      return evidence(bound, signal);
    });
    const { leaseId } = await machine.start();
    const { durationMs, heldUntil } = await machine.connection.renew(leaseId, never);
    assert.ok(heldUntil <= performance.now() + durationMs - 200);
  });

  it("gives a lease back by its id only", async () => {
    using machine = await Machine.boot(cluster, await cluster.addNode("w1"));
    const { leaseId } = await machine.start();
    await assert.rejects(machine.connection.release("00".repeat(16), never), REFUSED("LEASE_LOST"));
    assert.equal((await cluster.record("w1")).lease?.id, leaseId);
  });

  it("restarts with everything it knew, except its challenges", async () => {
    const initdata = await cluster.addNode("w1");
    using machine = await Machine.boot(cluster, initdata);
    const { key } = await machine.start();
    await cluster.restart();
    using again = new Machine(cluster.kms.address, initdata, machine.identity);
    again.disk = machine.disk;
    assert.deepEqual((await again.start()).key, key);
  });

  it("releases nothing before a policy is in force", async () => {
    await using bare = await Cluster.start({}, null);
    using machine = await Machine.boot(bare, await bare.addNode("w1"));
    await assert.rejects(machine.unseal(), { code: "RELEASE_REFUSED", predicate: "policy" });
    assert.equal((await bare.record("w1")).lease, undefined);
  });
});
