/** Who floods the KMS keeps strangers out, not the machines that run. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Attacker } from "./attacker.ts";
import { Cluster, Machine, codeOf, never } from "./cluster.ts";

const LIMITS = { noncesPerPeer: 3, nonces: 3, refusalsPerMinute: 4, appraisals: 2, connections: 100 };

describe("KMS, flooded by strangers", () => {
  let cluster: Cluster;
  let initdata: Buffer;
  let machine: Machine;
  let leaseId: string;
  beforeEach(async () => {
    cluster = await Cluster.start({ limits: LIMITS });
    initdata = await cluster.addNode("w1");
    machine = await Machine.boot(cluster, initdata);
    ({ leaseId } = await machine.start());
  });
  afterEach(async () => {
    machine[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  /** Still served; a machine that was never seen is not. */
  async function onlyTheHolderIsServed(): Promise<void> {
    await machine.connection.renew(leaseId, never);
    using stranger = await Machine.boot(cluster, initdata);
    assert.equal(await codeOf(stranger.unseal()), "KMS_BUSY");
    await machine.connection.renew(leaseId, never);
  }

  it("with challenges that nobody answers: a machine with a lease renews", async () => {
    using flood = await Attacker.of(cluster);
    for (let i = 0; i < 3; i++) await flood.nonce();
    assert.equal(await codeOf(flood.nonce()), "KMS_BUSY");
    await onlyTheHolderIsServed();
  });

  it("with requests that are refused: a machine with a lease renews", async () => {
    using flood = await Attacker.of(cluster);
    const request = { body: Buffer.alloc(0), evidence: undefined };
    for (let i = 0; i < 4; i++) assert.equal(await codeOf(flood.unseal(request)), "REQUEST_INVALID");
    assert.equal(await codeOf(flood.unseal(request)), "KMS_BUSY");
    await onlyTheHolderIsServed();
  });

  it("a machine whose lease has ended is a stranger again, and one with a lease has its own limit", async () => {
    using same = new Attacker(cluster, machine.identity);
    const request = { body: Buffer.alloc(0), evidence: undefined };
    for (let i = 0; i < 4; i++) assert.equal(await codeOf(same.unseal(request)), "REQUEST_INVALID");
    assert.equal(await codeOf(machine.connection.renew(leaseId, never)), "KMS_BUSY");
    // Its address has not been refused anything yet.
    using flood = await Attacker.of(cluster);
    for (let i = 0; i < 4; i++) assert.equal(await codeOf(flood.unseal(request)), "REQUEST_INVALID");
    cluster.clock.ahead += 301_000;
    for (let i = 0; i < 4; i++) assert.equal(await codeOf(flood.unseal(request)), "REQUEST_INVALID");
    assert.equal(await codeOf(machine.connection.renew(leaseId, never)), "KMS_BUSY");
  });
});

describe("KMS, its connections taken by one address", () => {
  it("a quarter is all that it gets; others are served, and so is it when it has closed some", async () => {
    await using cluster = await Cluster.start({ limits: { ...LIMITS, connections: 16 } });
    const initdata = await cluster.addNode("w1");
    const sockets = await halfOpen(cluster, 20);
    const closed = sockets
      .slice(4)
      .map((socket) => (socket.destroyed ? Promise.resolve([]) : once(socket, "close")));
    using machine = await Machine.boot(cluster, initdata);
    const { leaseId } = await machine.start();
    await machine.connection.renew(leaseId, never);
    await Promise.all(closed);
    assert.deepEqual(
      sockets.map(({ destroyed }) => destroyed),
      sockets.map((_, i) => i >= 4),
    );
    for (const socket of sockets) socket.destroy();
    // What was closed, with a handshake or without, is counted no more.
    for (let i = 0; i < 6; i++) {
      using again = new Machine(cluster.kms.address, initdata, machine.identity);
      await again.connection.renew(leaseId, never);
      await delay(20);
    }
    const anew = await halfOpen(cluster, 4);
    await delay(50);
    assert.ok(anew.every(({ destroyed }) => !destroyed));
    for (const socket of anew) socket.destroy();
  });
});

/** From 127.0.0.2: connections that never begin their handshake. */
async function halfOpen({ kms }: Cluster, count: number): Promise<Socket[]> {
  const [host = "", port] = kms.address.split(":");
  const sockets = Array.from({ length: count }, () =>
    connect({ host, port: Number(port), localAddress: "127.0.0.2" }).on("error", () => undefined),
  );
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  return sockets;
}
