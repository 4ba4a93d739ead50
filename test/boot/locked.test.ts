/** A node that loses its lease, or whose boot failed: when it locks, what it gives back, when it tries again. */
import assert from "node:assert/strict";
import { SealetError } from "../../agent/error.ts";
import { Rig } from "./rig.ts";

describe("a node that is out of service", () => {
  it("ends a minute after its boot failed, and the next agent boots it once the cause is gone", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    machine.fails({ attest: "EVIDENCE_REFUSED" });
    const first = rig.start();
    await first.until("failed");
    await clock.pass(59_000);
    assert.equal(first.over(), false, "it goes on explaining itself");
    machine.heals();
    await clock.until(first.over, 2_000);
    assert.equal(machine.kubelet, "stopped");
    const next = await rig.serving();
    await next.end();
  });

  it("ends a minute after its lease was lost, and the next agent serves once the KMS is back", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const first = await rig.serving();
    machine.fails({ renew: "KMS_UNREACHABLE", attest: "KMS_UNREACHABLE" });
    await clock.until(first.over, 400_000);
    const next = rig.start();
    await clock.pass(600_000);
    assert.equal(next.node.phases.get("attest")?.state, "retrying");
    machine.heals();
    await next.until("serving");
    assert.equal(machine.kubelet, "running");
    await next.end();
  });

  it("does not try again with a disk that could only be suspended", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    machine.fails({ renew: "LEASE_LOST", "disk.close": "DISK_BUSY" });
    await clock.until(() => machine.suspended, 400_000);
    await clock.pass(600_000);
    assert.equal(agent.over(), false);
    await agent.end();
  });
});

describe("I6 a lease", () => {
  it("is renewed at half its life, again and again", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    const since = clock.now;
    await clock.pass(3_600_000);
    const renewals = machine.effects.filter((effect) => effect === "renew").length;
    assert.ok(renewals >= 20 && renewals <= 30, `${renewals} renewals in an hour`);
    assert.equal(agent.node.state.state, "serving");
    assert.ok(clock.now >= since + 3_600_000);
    await agent.end();
  });

  it("whose renewal is refused locks the node at once", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    machine.fails({ renew: "EVIDENCE_REFUSED" });
    await agent.until("locked", 300_000);
    await clock.until(() => !machine.open);
    assert.equal(machine.kubelet, "stopped");
    await clock.until(() => machine.holder === undefined);
    assert.deepEqual(machine.effects.slice(-3), ["kubernetes.stop", "disk.close", "release"]);
    await agent.end();
  });

  it("that cannot be renewed locks the node when it ends, not before and not after", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    const since = clock.now;
    machine.fails({ renew: "KMS_UNREACHABLE" });
    await agent.until("locked", 400_000);
    assert.ok(clock.now - since > 299_000 && clock.now - since <= 300_001, `${clock.now - since} ms`);
    await clock.until(() => !machine.open);
    assert.equal(machine.kubelet, "stopped");
    await agent.end();
  });

  it("whose answer was long on its way ends by what remained of it", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    machine.remainingMs = 100_000;
    const agent = await rig.serving();
    const since = clock.now;
    machine.fails({ renew: "KMS_UNREACHABLE" });
    await agent.until("locked", 400_000);
    assert.ok(clock.now - since <= 100_001, `${clock.now - since} ms`);
    await agent.end();
  });

  it("locks also while a renewal hangs and heeds no signal", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    machine.hangs("renew");
    await agent.until("locked", 400_000);
    await clock.until(() => !machine.open);
    await agent.end();
  });

  it("of a disk that cannot be closed suspends it", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("LEASE_LOST", "Another machine holds it");
      if (operation === "kubernetes.stop") return new Promise<never>(() => undefined);
      return undefined;
    };
    await clock.until(() => machine.suspended, 400_000);
    assert.equal(machine.open, true);
    await agent.end();
  });

  it("of a disk that was only suspended is not given back, though its evidence was refused", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    machine.fails({ renew: "EVIDENCE_REFUSED", "disk.close": "DISK_BUSY" });
    await clock.until(() => machine.suspended, 400_000);
    await clock.pass(60_000);
    assert.equal(machine.effects.includes("release"), false);
    assert.equal(machine.holder, "lease-1");
    await agent.end();
  });

  it("is not renewed any more where the boot failed, though the disk could not be closed", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    machine.fails({ enrol: "ENROL_REFUSED", "disk.close": "DISK_BUSY" });
    const agent = rig.start();
    await clock.until(() => machine.suspended, 400_000);
    await clock.pass(600_000);
    assert.equal(machine.effects.includes("renew"), false);
    await agent.end();
  });

  it("that was renewed is the next agent's too, with the evidence that renewed it", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const first = await rig.serving();
    await clock.until(() => machine.effects.includes("renew"), 400_000);
    await clock.pass(1000);
    first.kill();
    clock.now += 200_000;
    machine.effects.length = 0;
    const second = rig.start();
    await clock.until(() => second.node.state.state !== "booting");
    assert.equal(second.node.state.state, "serving");
    assert.equal(second.node.facts.session?.evidenceSha256, "f6".repeat(32));
    assert.equal(machine.effects.includes("attest"), false);
    await second.end();
  });

  it("that is lost ends what runs beside a node that serves", async () => {
    using rig = new Rig();
    const { machine } = rig;
    let beside: AbortSignal | undefined;
    const agent = rig.start(undefined, (signal) => (beside = signal));
    await agent.until("serving");
    assert.equal(beside?.aborted, false);
    machine.fails({ renew: "EVIDENCE_REFUSED" });
    await agent.until("locked", 400_000);
    assert.equal(beside?.aborted, true);
    await agent.end();
  });

  it("is given back when the machine goes down, after the disk was closed", async () => {
    using rig = new Rig();
    const { machine } = rig;
    const agent = await rig.serving();
    machine.down = true;
    await agent.end();
    assert.deepEqual(machine.effects.slice(-3), ["kubernetes.stop", "disk.close", "release"]);
    assert.equal(machine.holder, undefined);
  });

  it("is kept when the machine goes down with the disk still open", async () => {
    using rig = new Rig();
    const { machine } = rig;
    const agent = await rig.serving();
    machine.down = true;
    machine.fails({ "disk.close": "DISK_BUSY" });
    await agent.end();
    assert.equal(machine.effects.includes("release"), false);
    assert.equal(machine.suspended, false);
  });
});
