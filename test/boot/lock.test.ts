/** Taking a node out of service where a step of it hangs or fails: what is told of the disk is what it is. */
import assert from "node:assert/strict";
import { Journal } from "../../agent/boot/journal.ts";
import { type Locked, lock } from "../../agent/boot/lock.ts";
import { SealetError } from "../../agent/error.ts";
import { FakeMachine, type Operation } from "./fake-machine.ts";
import { VirtualClock } from "./virtual-clock.ts";

type Fault = "fails" | "hangs";
type Faults = Partial<Record<Operation, Fault>>;

function serving(faults: Faults): FakeMachine {
  const machine = new FakeMachine();
  Object.assign(machine, { open: true, mounted: true, kubelet: "running" });
  machine.before = (operation) => {
    if (faults[operation] === "fails") throw new SealetError("DISK_BUSY", `${operation} fails`);
    if (faults[operation] === "hangs") return new Promise<never>(() => undefined);
    return undefined;
  };
  return machine;
}

async function locked(machine: FakeMachine, lastResort: boolean): Promise<{ as: Locked; events: string[] }> {
  const clock = new VirtualClock();
  const journal = new Journal(clock);
  let as: Locked | undefined;
  void lock({ machine, journal, clock }, lastResort).then((result) => (as = result));
  await clock.pass(61_000);
  assert.ok(as !== undefined, "it did not end");
  return { as, events: journal.after(0).map(({ kind, code = "" }) => `${kind} ${code}`.trim()) };
}

describe("I2 a node that is locked", () => {
  const cases: readonly (readonly [Faults, Locked, readonly string[]])[] = [
    [{}, "closed", ["done", "done"]],
    [{ "kubernetes.stop": "hangs" }, "suspended", ["failed TIMEOUT", "failed DISK_BUSY", "done"]],
    [{ "disk.close": "fails" }, "suspended", ["done", "failed DISK_BUSY", "done"]],
    [{ "disk.close": "hangs" }, "suspended", ["done", "failed TIMEOUT", "done"]],
    [
      { "disk.close": "fails", "disk.suspend": "fails" },
      "open",
      ["done", "failed DISK_BUSY", "failed DISK_BUSY"],
    ],
    [
      { "disk.close": "hangs", "disk.suspend": "hangs" },
      "open",
      ["done", "failed TIMEOUT", "failed TIMEOUT"],
    ],
  ];
  for (const [faults, as, events] of cases)
    it(`${JSON.stringify(faults)}: its disk is ${as}, and is said to be`, async () => {
      const machine = serving(faults);
      assert.deepEqual(await locked(machine, true), { as, events });
      assert.equal(machine.open, as !== "closed");
      assert.equal(machine.suspended, as === "suspended");
    });

  it("is never suspended where the machine goes down: its disk stays open", async () => {
    const machine = serving({ "disk.close": "fails" });
    assert.equal((await locked(machine, false)).as, "open");
    assert.equal(machine.suspended, false);
  });

  it("calls off what is over its time", async () => {
    const machine = serving({});
    let calledOff = false;
    machine.before = (operation, signal) => {
      if (operation !== "disk.close") return undefined;
      signal?.addEventListener("abort", () => (calledOff = true));
      return new Promise<never>(() => undefined);
    };
    await locked(machine, true);
    assert.equal(calledOff, true);
  });
});
