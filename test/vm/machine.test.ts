/** A boot that the emulator spoilt is told from one that went on, and from one that ended. */
import assert from "node:assert/strict";
import { Console } from "./console.ts";
import { lostItsTimer } from "./machine.ts";

const said = (...lines: string[]) => {
  const output = new Console(performance.now(), () => 0);
  output.feed(Buffer.from(lines.map((line) => `${line}\n`).join("")));
  return output;
};

describe("a machine whose processor lost its timer", () => {
  it("is known by what its kernel says before the root is there", async () => {
    const stall =
      "[   23.717597] rcu: rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies! g-1143";
    assert.equal(await lostItsTimer(said("[    4.0] initrd: up at 4.06 s", stall)), true);
    assert.equal(await lostItsTimer(said("[    6.2] initrd: handing over at 6.24 s")), false);
    assert.equal(await lostItsTimer(said("[    6.0] Kernel panic - not syncing: dm-verity")), false);
  });

  it("is not taken for one that went off", async () => {
    const output = said("BdsDxe: starting Boot0001");
    const lost = lostItsTimer(output);
    output.end("node-1 is off");
    assert.equal(await lost, false);
  });
});
