/** The whole of a node's boot over a machine in memory: what it promises, whatever fails. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { PHASES } from "../../agent/boot/phase.ts";
import { RETRY } from "../../agent/boot/retry.ts";
import { bootSequence } from "../../agent/boot/sequence.ts";
import { REMEDY, SealetError, isCode } from "../../agent/error.ts";
import { CANARY, OPERATION } from "./fake-machine.ts";
import { Rig } from "./rig.ts";

const CODES = Object.keys(REMEDY).filter(isCode);

describe("boot of a node", () => {
  it("goes through every phase in order, each with an event at its end, and serves", async () => {
    using rig = new Rig();
    const { machine } = rig;
    const agent = await rig.serving();
    assert.deepEqual(machine.effects, [
      "configure",
      "detect",
      "inspect",
      "attest",
      "unseal",
      "disk.unseal",
      "commit",
      "mount",
      "enrol",
      "kubernetes.start",
      "kubernetes.tell",
      "serve",
    ]);
    for (const phase of PHASES) {
      const expected = phase === "measure" || phase === "network" ? "skipped" : "done";
      assert.deepEqual(agent.kinds(phase), ["started", expected], phase);
      assert.equal(agent.node.phases.get(phase)?.state, expected);
    }
    assert.equal(machine.committed, 8n);
    await agent.end();
  });

  it("formats a blank disk when the KMS orders it", async () => {
    using rig = new Rig();
    const { machine } = rig;
    machine.diskState = "blank";
    const agent = await rig.serving();
    assert.match(JSON.stringify(agent.node.phases.get("unseal")), /formatted, epoch 8/);
    await agent.end();
  });

  it("stops after the phase that was asked for, and no further", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const agent = rig.start("unseal");
    await clock.until(() => machine.effects.includes("commit"));
    await clock.pass(60_000);
    assert.equal(machine.effects.includes("mount"), false);
    assert.equal(agent.node.state.state, "booting");
    await agent.end();
  });

  it("waits for a KMS that is not there yet, visibly, and then boots", async () => {
    using rig = new Rig();
    const { machine, clock } = rig;
    const back = clock.now + 600_000;
    machine.before = (operation) => {
      if (operation === "attest" && clock.now < back)
        throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
    };
    const agent = rig.start();
    await clock.until(() => agent.node.phases.get("attest")?.state === "retrying");
    await agent.until("serving");
    const retried = agent.journal.after(0).filter((event) => event.kind === "retried");
    assert.ok(retried.length > 20 && retried.length < 60, `${retried.length} attempts in ten minutes`);
    assert.ok(
      retried.every((event) => event.code === "KMS_UNREACHABLE" && event.message.includes("again in")),
    );
    assert.ok(Math.max(...clock.sleeps.filter((ms) => ms <= 30_000)) <= 30_000);
    await agent.end();
  });
});

describe("the node's object", () => {
  it("is told of later where the API server can't be asked, and kubelet starts all the same", async () => {
    using rig = new Rig();
    const { machine } = rig;
    machine.fails({ "kubernetes.tell": "KUBELET_UNHEALTHY" });
    const agent = await rig.serving();
    assert.equal(agent.node.facts.told, undefined);
    await agent.end();
  });
});

describe("I2 kubelet never starts", () => {
  const before = PHASES.slice(0, PHASES.indexOf("kubelet")).filter((phase) => OPERATION[phase] !== undefined);
  for (const phase of before) {
    it(`after ${phase} failed, with any code`, async () => {
      for (const code of CODES) {
        using rig = new Rig();
        const { machine, clock } = rig;
        machine.fails({ [OPERATION[phase] ?? assert.fail()]: code });
        const agent = rig.start();
        const over = () =>
          agent.node.state.state === "failed"
            ? true
            : agent.kinds(phase).filter((kind) => kind === "retried").length > 8;
        await clock.until(over);
        const healing = agent.node.state.state === "booting";
        assert.equal(
          healing,
          RETRY[code] === "while-it-heals" && !["configure", "detect", "mount"].includes(phase),
        );
        await clock.pass(60_000);
        assert.equal(machine.effects.includes("kubernetes.start"), false, `${phase} ${code}`);
        assert.equal(machine.kubelet, "stopped");
        if (!healing) {
          assert.equal(machine.open, false, `${phase} ${code}: the disk is closed`);
          const { state } = agent.node;
          assert.ok(state.state === "failed" && state.phase === phase && state.error.code === code);
        }
        await agent.end();
      }
    });
  }

  it("when what unseals between the answer and the lease fails", async () => {
    for (const operation of ["disk.unseal", "commit"] as const) {
      using rig = new Rig();
      const { machine, clock } = rig;
      machine.fails({ [operation]: "HEADER_TAMPERED" });
      const agent = rig.start();
      await agent.until("failed");
      await clock.pass(1000);
      assert.equal(machine.effects.includes("mount"), false);
      assert.equal(machine.effects.includes("kubernetes.start"), false);
      assert.equal(machine.open, false);
      assert.equal(machine.holder, undefined, "the next boot need not wait for the lease's end");
      await agent.end();
    }
  });
});

describe("the boot sequence's table", () => {
  it("I2 names what a phase needs, kubelet's needs each by themselves", () => {
    using rig = new Rig();
    const { machine, clock, session } = rig;
    const phases = bootSequence({ machine, clock, session, facts: {}, onLease: () => undefined });
    assert.deepEqual(
      phases.map(({ name }) => name),
      PHASES,
    );
    assert.deepEqual(Object.fromEntries(phases.map(({ name, needs }) => [name, needs])), {
      configure: [],
      detect: ["configure"],
      measure: ["detect"],
      attest: ["detect"],
      unseal: ["attest"],
      mount: ["unseal"],
      enrol: ["mount"],
      network: ["enrol"],
      kubelet: ["attest", "unseal", "mount", "enrol"],
      serve: ["kubelet"],
    });
  });
});

describe("what is tried again", () => {
  for (const [operation, effects] of [
    ["attest", ["inspect", "inspect", "attest", "unseal", "disk.unseal", "commit"]],
    ["unseal", ["inspect", "attest", "inspect", "attest", "unseal", "disk.unseal", "commit"]],
    [
      "commit",
      ["inspect", "attest", "unseal", "disk.unseal", "inspect", "attest", "unseal", "disk.unseal", "commit"],
    ],
  ] as const)
    it(`I1 looks at the disk and asks for its keys anew, after ${operation}`, async () => {
      using rig = new Rig();
      const { machine, clock } = rig;
      let failed = false;
      machine.before = (what) => {
        if (what !== operation || failed) return;
        failed = true;
        throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
      };
      const agent = rig.start("unseal");
      await clock.until(() => machine.effects.includes("commit"), 400_000);
      assert.deepEqual(machine.effects.slice(2), effects);
      await agent.end();
    });
});

describe("I9 no secret", () => {
  it("nor anything else of the agent's is another user's to read, whatever its umask", async () => {
    using rig = new Rig();
    const umask = process.umask(0);
    try {
      const agent = await rig.serving();
      const names = readdirSync(rig.run);
      assert.deepEqual(names.toSorted(), ["events.jsonl", "session.json"]);
      for (const name of names) assert.equal(statSync(join(rig.run, name)).mode & 0o777, 0o600, name);
      await agent.end();
    } finally {
      process.umask(umask);
    }
  });

  it("stands in an event or a file of the agent, and every key is wiped", async () => {
    using rig = new Rig();
    const { machine } = rig;
    const agent = await rig.serving();
    machine.fails({ renew: "EVIDENCE_REFUSED" });
    await agent.until("locked");
    await agent.end();
    const secret = [CANARY, Buffer.from(CANARY).toString("hex"), Buffer.from(CANARY).toString("base64")];
    const seen = [
      JSON.stringify(agent.journal.after(0)),
      ...readdirSync(rig.run).map((name) => readFileSync(join(rig.run, name), "utf8")),
    ];
    for (const text of seen) for (const form of secret) assert.equal(text.includes(form), false);
    assert.equal(machine.handedOut.length, 1);
    assert.ok(machine.handedOut.every((key) => key.every((byte) => byte === 0)));
  });
});
