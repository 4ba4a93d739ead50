/** An agent that is killed at whatever moment, and what its successor finds. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Faults, OPERATION, type Operation } from "./fake-machine.ts";
import { type Agent, Rig } from "./rig.ts";

describe("I10 an agent that is killed", () => {
  const operations = [...Object.values(OPERATION), "inspect", "disk.unseal", "commit"] as const;
  for (const operation of operations) {
    for (const moment of ["before", "after"] as const) {
      it(`${moment} ${operation} took effect: the next one ends where an undisturbed one would`, async () => {
        using rig = new Rig();
        const { machine, clock } = rig;
        const reached = machine.hangs(operation, moment);
        const first = rig.start();
        await clock.until(reached);
        first.kill();
        const events = first.journal.after(0).length;
        machine.heals();

        const second = rig.start();
        assert.ok(second.journal.after(0).length >= events, "events go on");
        await second.until("serving");
        assert.equal(machine.open && machine.mounted, true);
        assert.equal(machine.kubelet, "running");
        assert.equal(machine.epoch, machine.committed);
        assert.equal(machine.effects.includes("kubernetes.stop"), false, "kubelet was never stopped");
        assert.equal(machine.effects.includes("disk.close"), false);
        const sequences = second.journal.after(0).map((event) => event.sequence);
        assert.deepEqual(
          sequences,
          [...sequences.keys()].map((index) => index + 1),
        );
        await second.end();
      });
    }
  }

  it("while it serves leaves everything as it is; the next one asks for no keys", async () => {
    using rig = new Rig();
    const { machine } = rig;
    const first = await rig.serving();
    await first.end();
    assert.equal(machine.kubelet, "running");
    assert.equal(machine.open, true);
    assert.equal(machine.holder, "lease-1");
    machine.effects.length = 0;
    const second = await rig.serving();
    assert.equal(machine.effects.includes("unseal"), false);
    assert.equal(machine.effects.includes("disk.unseal"), false);
    await second.end();
  });

  it("for longer than its lease locks instead of serving on", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const first = await rig.serving();
    await first.end();
    clock.now += 300_001;
    const second = rig.start();
    await clock.until(() => !machine.open);
    const { state } = second.node;
    assert.ok("error" in state && state.error.code === "LEASE_LOST");
    assert.equal(machine.kubelet, "stopped");
    await second.end();
  });

  it("and whose successor hangs before it takes the lease over is locked when the lease ends", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const first = await rig.serving();
    first.kill();
    const since = clock.now;
    machine.hangs("detect");
    const second = rig.start();
    await clock.until(() => !machine.open, 400_000);
    assert.ok(clock.now - since <= 311_000, `${clock.now - since} ms`);
    assert.equal(machine.kubelet, "stopped");
    assert.equal(second.node.state.state, "locked");
    await second.end();
  });
});

/** The agent after one that was killed within the operation, while it locked for what its renewal met. */
async function afterKilledLocking(rig: Rig, operation: Operation, faults: Faults): Promise<Agent> {
  const { machine, clock } = rig;
  const first = await rig.serving();
  machine.fails(faults);
  const reached = machine.hangs(operation);
  await clock.until(reached, 400_000);
  first.kill();
  machine.effects.length = 0;
  machine.heals();
  return rig.start();
}

describe("I10 an agent that is killed while it locks", () => {
  for (const operation of ["kubernetes.stop", "disk.close"] as const) {
    it(`at ${operation}, its KMS being away: the next one locks too, and asks for nothing`, async () => {
      using rig = new Rig();
      const { machine, clock } = rig;
      const second = await afterKilledLocking(rig, operation, {
        renew: "KMS_UNREACHABLE",
        attest: "KMS_UNREACHABLE",
      });
      await clock.until(() => !machine.open, 60_000);
      assert.equal(machine.kubelet, "stopped");
      assert.ok(!machine.effects.includes("unseal") && !machine.effects.includes("attest"));
      await second.end();
    });

    it(`I2 at ${operation}, its evidence being refused: the next one locks too, though the lease would live on`, async () => {
      using rig = new Rig();
      const { machine, clock } = rig;
      const second = await afterKilledLocking(rig, operation, { renew: "EVIDENCE_REFUSED" });
      await clock.until(() => !machine.open || machine.effects.includes("kubernetes.start"), 60_000);
      assert.equal(machine.open, false);
      assert.equal(machine.kubelet, "stopped");
      await second.end();
    });
  }
});

describe("a /run that can't be written any more", () => {
  it("keeps no node from renewing its lease, and none from locking", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = await rig.serving();
    mkdirSync(join(rig.run, "session.json.next"));
    await clock.until(() => machine.effects.filter((effect) => effect === "renew").length >= 3, 1_000_000);
    assert.equal(agent.node.state.state, "serving");
    machine.fails({ renew: "EVIDENCE_REFUSED" });
    await clock.until(() => !machine.open, 400_000);
    assert.equal(machine.kubelet, "stopped");
    await agent.end();
  });
});

describe("initdata that another takes the place of", () => {
  it("while an agent is restarted gets no open disk, no kubelet and no keys", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const first = await rig.serving();
    first.kill();
    machine.effects.length = 0;
    machine.initdata = "cd".repeat(32);
    const second = rig.start();
    await clock.until(() => !machine.open, 60_000);
    const { state } = second.node;
    assert.ok("error" in state && state.error.code === "INITDATA_INVALID");
    assert.equal(machine.kubelet, "stopped");
    for (const effect of ["attest", "enrol", "mount"] as const)
      assert.equal(machine.effects.includes(effect), false, effect);
    await second.end();
  });
});
