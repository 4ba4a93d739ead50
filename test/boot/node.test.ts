/** The whole of a node's boot over a machine in memory: what it promises, whatever fails and whenever it is killed. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal } from "../../agent/boot/journal.ts";
import { Node, type NodeState } from "../../agent/boot/node.ts";
import { PHASES, type PhaseName } from "../../agent/boot/phase.ts";
import { RETRY } from "../../agent/boot/retry.ts";
import { bootSequence } from "../../agent/boot/sequence.ts";
import { SessionFile } from "../../agent/boot/session.ts";
import { REMEDY, SealetError, isCode } from "../../agent/error.ts";
import { CANARY, FakeMachine, type Operation } from "./fake-machine.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** Which operation of the machine each phase lives by. */
const OPERATION: Partial<Record<PhaseName, Operation>> = {
  configure: "configure",
  detect: "detect",
  attest: "attest",
  unseal: "unseal",
  mount: "mount",
  enrol: "enrol",
  kubelet: "kubernetes.start",
  serve: "serve",
};
const CODES = Object.keys(REMEDY).filter(isCode);

let run: string;
let clock: VirtualClock;
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), "sealet-boot-"));
  clock = new VirtualClock();
});
afterEach(() => rmSync(run, { recursive: true, force: true }));

interface Agent {
  readonly node: Node<Parameters<FakeMachine["disk"]["unseal"]>[0]>;
  readonly journal: Journal;
  /** It ended, by itself or asked to. */
  readonly over: () => boolean;
  /** The agent is asked to end, and has. */
  end(): Promise<void>;
  /** SIGKILL: nothing of it runs any more. */
  kill(): void;
}

function start(machine: FakeMachine, until?: PhaseName, onServing?: (signal: AbortSignal) => void): Agent {
  const stop = new AbortController();
  const program = clock.forProgram();
  const journal = new Journal(program, join(run, "events.jsonl"));
  const session = new SessionFile(join(run, "session.json"));
  const options = { machine, journal, clock: program, session, until, random: () => 0.5 };
  const node = new Node({ ...options, ...(onServing && { onServing }) }, stop.signal);
  let ended = false;
  void node.run().then(() => (ended = true));
  const over = () => ended;
  return {
    node,
    journal,
    over,
    end: async () => {
      stop.abort();
      await clock.until(over);
    },
    kill: () => program.kill(),
  };
}

const is = (agent: Agent, state: NodeState["state"]) => () => agent.node.state.state === state;
const kinds = (agent: Agent, phase: string) =>
  agent.journal
    .after(0)
    .filter((event) => event.phase === phase)
    .map((event) => event.kind);

describe("boot of a node", () => {
  it("goes through every phase in order, each with an event at its end, and serves", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
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
      assert.deepEqual(kinds(agent, phase), ["started", expected], phase);
      assert.equal(agent.node.phases.get(phase)?.state, expected);
    }
    assert.equal(machine.committed, 8n);
    await agent.end();
  });

  it("formats a blank disk when the KMS orders it", async () => {
    const machine = new FakeMachine();
    machine.diskState = "blank";
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    assert.match(JSON.stringify(agent.node.phases.get("unseal")), /formatted, epoch 8/);
    await agent.end();
  });

  it("stops after the phase that was asked for, and no further", async () => {
    const machine = new FakeMachine();
    const agent = start(machine, "unseal");
    await clock.until(() => machine.effects.includes("commit"));
    await clock.pass(60_000);
    assert.equal(machine.effects.includes("mount"), false);
    assert.equal(agent.node.state.state, "booting");
    await agent.end();
  });

  it("waits for a KMS that is not there yet, visibly, and then boots", async () => {
    const machine = new FakeMachine();
    const back = clock.now + 600_000;
    machine.before = (operation) => {
      if (operation === "attest" && clock.now < back)
        throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
    };
    const agent = start(machine);
    await clock.until(() => agent.node.phases.get("attest")?.state === "retrying");
    await clock.until(is(agent, "serving"));
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
    const machine = new FakeMachine();
    machine.before = (operation) => {
      if (operation === "kubernetes.tell") throw new SealetError("KUBELET_UNHEALTHY", "Nobody answers");
    };
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    assert.equal(agent.node.facts.told, undefined);
    await agent.end();
  });
});

describe("I2 kubelet never starts", () => {
  const before = PHASES.slice(0, PHASES.indexOf("kubelet")).filter((phase) => OPERATION[phase] !== undefined);
  for (const phase of before) {
    it(`after ${phase} failed, with any code`, async () => {
      for (const code of CODES) {
        rmSync(join(run, "events.jsonl"), { force: true });
        const machine = new FakeMachine();
        machine.before = (operation) => {
          if (operation === OPERATION[phase]) throw new SealetError(code, `${phase} fails`);
        };
        const agent = start(machine);
        const over = () =>
          agent.node.state.state === "failed"
            ? true
            : kinds(agent, phase).filter((kind) => kind === "retried").length > 8;
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
      rmSync(join(run, "events.jsonl"), { force: true });
      const machine = new FakeMachine();
      machine.before = (what) => {
        if (what === operation) throw new SealetError("HEADER_TAMPERED", "Somebody changed the header");
      };
      const agent = start(machine);
      await clock.until(is(agent, "failed"));
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
    const session = new SessionFile(join(run, "session.json"));
    const phases = bootSequence({
      machine: new FakeMachine(),
      clock,
      session,
      facts: {},
      onLease: () => undefined,
    });
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
      const machine = new FakeMachine();
      let failed = false;
      machine.before = (what) => {
        if (what !== operation || failed) return;
        failed = true;
        throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
      };
      const agent = start(machine, "unseal");
      await clock.until(() => machine.effects.includes("commit"), 400_000);
      assert.deepEqual(machine.effects.slice(2), effects);
      await agent.end();
    });
});

describe("I10 an agent that is killed", () => {
  const operations = [...Object.values(OPERATION), "inspect", "disk.unseal", "commit"] as const;
  for (const operation of operations) {
    for (const moment of ["before", "after"] as const) {
      it(`${moment} ${operation} took effect: the next one ends where an undisturbed one would`, async () => {
        const machine = new FakeMachine();
        let reached = false;
        machine[moment] = (what) => {
          if (what !== operation) return undefined;
          reached = true;
          return new Promise<never>(() => undefined);
        };
        const first = start(machine);
        await clock.until(() => reached);
        first.kill();
        const events = first.journal.after(0).length;
        machine[moment] = () => undefined;

        const second = start(machine);
        assert.ok(second.journal.after(0).length >= events, "events go on");
        await clock.until(is(second, "serving"));
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
    const machine = new FakeMachine();
    const first = start(machine);
    await clock.until(is(first, "serving"));
    await first.end();
    assert.equal(machine.kubelet, "running");
    assert.equal(machine.open, true);
    assert.equal(machine.holder, "lease-1");
    machine.effects.length = 0;
    const second = start(machine);
    await clock.until(is(second, "serving"));
    assert.equal(machine.effects.includes("unseal"), false);
    assert.equal(machine.effects.includes("disk.unseal"), false);
    await second.end();
  });

  it("for longer than its lease locks instead of serving on", async () => {
    const machine = new FakeMachine();
    const first = start(machine);
    await clock.until(is(first, "serving"));
    await first.end();
    clock.now += 300_001;
    const second = start(machine);
    await clock.until(() => !machine.open);
    const { state } = second.node;
    assert.ok("error" in state && state.error.code === "LEASE_LOST");
    assert.equal(machine.kubelet, "stopped");
    await second.end();
  });

  it("and whose successor hangs before it takes the lease over is locked when the lease ends", async () => {
    const machine = new FakeMachine();
    const first = start(machine);
    await clock.until(is(first, "serving"));
    first.kill();
    const since = clock.now;
    machine.before = (operation) =>
      operation === "detect" ? new Promise<never>(() => undefined) : undefined;
    const second = start(machine);
    await clock.until(() => !machine.open, 400_000);
    assert.ok(clock.now - since <= 311_000, `${clock.now - since} ms`);
    assert.equal(machine.kubelet, "stopped");
    assert.equal(second.node.state.state, "locked");
    await second.end();
  });
});

/** @returns the agent after one that was killed within the operation, while it locked for what its renewal met */
async function afterKilledLocking(
  machine: FakeMachine,
  operation: Operation,
  faults: (what: Operation) => void,
  next: (what: Operation) => void,
): Promise<Agent> {
  const first = start(machine);
  await clock.until(is(first, "serving"));
  let reached = false;
  machine.before = (what) => {
    faults(what);
    if (what !== operation) return undefined;
    reached = true;
    return new Promise<never>(() => undefined);
  };
  await clock.until(() => reached, 400_000);
  first.kill();
  machine.effects.length = 0;
  machine.before = next;
  return start(machine);
}

function away(what: Operation): void {
  if (what === "renew" || what === "attest") throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
}

describe("I10 an agent that is killed while it locks", () => {
  for (const operation of ["kubernetes.stop", "disk.close"] as const)
    it(`at ${operation}: the next one locks too, and asks for nothing`, async () => {
      const machine = new FakeMachine();
      const second = await afterKilledLocking(machine, operation, away, away);
      await clock.until(() => !machine.open, 60_000);
      assert.equal(machine.kubelet, "stopped");
      assert.ok(!machine.effects.includes("unseal") && !machine.effects.includes("attest"));
      await second.end();
    });
});

function renewalRefused(what: Operation): void {
  if (what === "renew") throw new SealetError("EVIDENCE_REFUSED", "The policy changed");
}

describe("I2 an agent that is killed while it locks a node whose evidence was refused", () => {
  for (const operation of ["kubernetes.stop", "disk.close"] as const)
    it(`at ${operation}: the next one locks too, though the lease would live on`, async () => {
      const machine = new FakeMachine();
      const second = await afterKilledLocking(machine, operation, renewalRefused, () => undefined);
      await clock.until(() => !machine.open || machine.effects.includes("kubernetes.start"), 60_000);
      assert.equal(machine.open, false);
      assert.equal(machine.kubelet, "stopped");
      await second.end();
    });
});

describe("a /run that can't be written any more", () => {
  it("keeps no node from renewing its lease, and none from locking", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    mkdirSync(join(run, "session.json.next"));
    await clock.until(() => machine.effects.filter((effect) => effect === "renew").length >= 3, 1_000_000);
    assert.equal(agent.node.state.state, "serving");
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("EVIDENCE_REFUSED", "The policy changed");
    };
    await clock.until(() => !machine.open, 400_000);
    assert.equal(machine.kubelet, "stopped");
    await agent.end();
  });
});

describe("initdata that another takes the place of", () => {
  it("while an agent is restarted gets no open disk, no kubelet and no keys", async () => {
    const machine = new FakeMachine();
    const first = start(machine);
    await clock.until(is(first, "serving"));
    first.kill();
    machine.effects.length = 0;
    machine.initdata = "cd".repeat(32);
    const second = start(machine);
    await clock.until(() => !machine.open, 60_000);
    const { state } = second.node;
    assert.ok("error" in state && state.error.code === "INITDATA_INVALID");
    assert.equal(machine.kubelet, "stopped");
    for (const effect of ["attest", "enrol", "mount"] as const)
      assert.equal(machine.effects.includes(effect), false, effect);
    await second.end();
  });
});

describe("a node that is out of service", () => {
  it("ends a minute after its boot failed, and the next agent boots it once the cause is gone", async () => {
    const machine = new FakeMachine();
    machine.before = (operation) => {
      if (operation === "attest") throw new SealetError("EVIDENCE_REFUSED", "Another measurement");
    };
    const first = start(machine);
    await clock.until(is(first, "failed"));
    await clock.pass(59_000);
    assert.equal(first.over(), false, "it goes on explaining itself");
    machine.before = () => undefined;
    await clock.until(first.over, 2_000);
    assert.equal(machine.kubelet, "stopped");
    const next = start(machine);
    await clock.until(is(next, "serving"));
    await next.end();
  });

  it("ends a minute after its lease was lost, and the next agent serves once the KMS is back", async () => {
    const machine = new FakeMachine();
    const first = start(machine);
    await clock.until(is(first, "serving"));
    machine.before = (operation) => {
      if (operation === "renew" || operation === "attest")
        throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
    };
    await clock.until(first.over, 400_000);
    const next = start(machine);
    await clock.pass(600_000);
    assert.equal(next.node.phases.get("attest")?.state, "retrying");
    machine.before = () => undefined;
    await clock.until(is(next, "serving"));
    assert.equal(machine.kubelet, "running");
    await next.end();
  });

  it("does not try again with a disk that could only be suspended", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("LEASE_LOST", "Another machine holds it");
      if (operation === "disk.close") throw new SealetError("DISK_BUSY", "A pod does not die");
    };
    await clock.until(() => machine.suspended, 400_000);
    await clock.pass(600_000);
    assert.equal(agent.over(), false);
    await agent.end();
  });
});

describe("I6 a lease", () => {
  it("is renewed at half its life, again and again", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    const since = clock.now;
    await clock.pass(3_600_000);
    const renewals = machine.effects.filter((effect) => effect === "renew").length;
    assert.ok(renewals >= 20 && renewals <= 30, `${renewals} renewals in an hour`);
    assert.equal(agent.node.state.state, "serving");
    assert.ok(clock.now >= since + 3_600_000);
    await agent.end();
  });

  it("whose renewal is refused locks the node at once", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("EVIDENCE_REFUSED", "The policy changed");
    };
    await clock.until(is(agent, "locked"), 300_000);
    await clock.until(() => !machine.open);
    assert.equal(machine.kubelet, "stopped");
    await clock.until(() => machine.holder === undefined);
    assert.deepEqual(machine.effects.slice(-3), ["kubernetes.stop", "disk.close", "release"]);
    await agent.end();
  });

  it("that cannot be renewed locks the node when it ends, not before and not after", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    const since = clock.now;
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
    };
    await clock.until(is(agent, "locked"), 400_000);
    assert.ok(clock.now - since > 299_000 && clock.now - since <= 300_001, `${clock.now - since} ms`);
    await clock.until(() => !machine.open);
    assert.equal(machine.kubelet, "stopped");
    await agent.end();
  });

  it("whose answer was long on its way ends by what remained of it", async () => {
    const machine = new FakeMachine();
    machine.remainingMs = 100_000;
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    const since = clock.now;
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("KMS_UNREACHABLE", "Nobody answers");
    };
    await clock.until(is(agent, "locked"), 400_000);
    assert.ok(clock.now - since <= 100_001, `${clock.now - since} ms`);
    await agent.end();
  });

  it("locks also while a renewal hangs and heeds no signal", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.before = (operation) => (operation === "renew" ? new Promise<never>(() => undefined) : undefined);
    await clock.until(is(agent, "locked"), 400_000);
    await clock.until(() => !machine.open);
    await agent.end();
  });

  it("of a disk that cannot be closed suspends it", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
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
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("EVIDENCE_REFUSED", "The policy changed");
      if (operation === "disk.close") throw new SealetError("DISK_BUSY", "A pod does not die");
    };
    await clock.until(() => machine.suspended, 400_000);
    await clock.pass(60_000);
    assert.equal(machine.effects.includes("release"), false);
    assert.equal(machine.holder, "lease-1");
    await agent.end();
  });

  it("is not renewed any more where the boot failed, though the disk could not be closed", async () => {
    const machine = new FakeMachine();
    machine.before = (operation) => {
      if (operation === "enrol") throw new SealetError("ENROL_REFUSED", "Another name");
      if (operation === "disk.close") throw new SealetError("DISK_BUSY", "A pod does not die");
    };
    const agent = start(machine);
    await clock.until(() => machine.suspended, 400_000);
    await clock.pass(600_000);
    assert.equal(machine.effects.includes("renew"), false);
    await agent.end();
  });

  it("that was renewed is the next agent's too, with the evidence that renewed it", async () => {
    const machine = new FakeMachine();
    const first = start(machine);
    await clock.until(is(first, "serving"));
    await clock.until(() => machine.effects.includes("renew"), 400_000);
    await clock.pass(1000);
    first.kill();
    clock.now += 200_000;
    machine.effects.length = 0;
    const second = start(machine);
    await clock.until(() => second.node.state.state !== "booting");
    assert.equal(second.node.state.state, "serving");
    assert.equal(second.node.facts.session?.evidenceSha256, "f6".repeat(32));
    assert.equal(machine.effects.includes("attest"), false);
    await second.end();
  });

  it("that is lost ends what runs beside a node that serves", async () => {
    const machine = new FakeMachine();
    let beside: AbortSignal | undefined;
    const agent = start(machine, undefined, (signal) => (beside = signal));
    await clock.until(is(agent, "serving"));
    assert.equal(beside?.aborted, false);
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("EVIDENCE_REFUSED", "The policy changed");
    };
    await clock.until(is(agent, "locked"), 400_000);
    assert.equal(beside?.aborted, true);
    await agent.end();
  });

  it("is given back when the machine goes down, after the disk was closed", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.down = true;
    await agent.end();
    assert.deepEqual(machine.effects.slice(-3), ["kubernetes.stop", "disk.close", "release"]);
    assert.equal(machine.holder, undefined);
  });

  it("is kept when the machine goes down with the disk still open", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.down = true;
    machine.before = (operation) => {
      if (operation === "disk.close") throw new SealetError("DISK_BUSY", "A pod does not die");
    };
    await agent.end();
    assert.equal(machine.effects.includes("release"), false);
    assert.equal(machine.suspended, false);
  });
});

describe("I9 no secret", () => {
  it("nor anything else of the agent's is another user's to read, whatever its umask", async () => {
    const umask = process.umask(0);
    try {
      const agent = start(new FakeMachine());
      await clock.until(is(agent, "serving"));
      const names = readdirSync(run);
      assert.deepEqual(names.toSorted(), ["events.jsonl", "session.json"]);
      for (const name of names) assert.equal(statSync(join(run, name)).mode & 0o777, 0o600, name);
      await agent.end();
    } finally {
      process.umask(umask);
    }
  });

  it("stands in an event or a file of the agent, and every key is wiped", async () => {
    const machine = new FakeMachine();
    const agent = start(machine);
    await clock.until(is(agent, "serving"));
    machine.before = (operation) => {
      if (operation === "renew") throw new SealetError("EVIDENCE_REFUSED", "The policy changed");
    };
    await clock.until(is(agent, "locked"));
    await agent.end();
    const secret = [CANARY, Buffer.from(CANARY).toString("hex"), Buffer.from(CANARY).toString("base64")];
    const seen = [
      JSON.stringify(agent.journal.after(0)),
      ...readdirSync(run).map((name) => readFileSync(join(run, name), "utf8")),
    ];
    for (const text of seen) for (const form of secret) assert.equal(text.includes(form), false);
    assert.equal(machine.handedOut.length, 1);
    assert.ok(machine.handedOut.every((key) => key.every((byte) => byte === 0)));
  });
});
