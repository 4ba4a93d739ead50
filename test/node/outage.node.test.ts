/** Boots that are disturbed, and end where an undisturbed one would (I10). They need a KMS and no Kubernetes. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { REMEDY } from "../../agent/error.ts";
import { RECORD_OFFSETS } from "../../agent/disk/layout.ts";
import type { StateDisk } from "./disk.ts";
import { Lab, type Enrolled } from "./lab.ts";
import { startNode, type TestNode } from "./node.ts";
import { reportFailures } from "./report.ts";
import { upTo } from "./root.ts";

const files = upTo("mount");

/** Boots to the mounted disk. */
async function mounted(enrolled: Enrolled, disk: StateDisk): Promise<TestNode> {
  const node = await startNode({ enrolled, stateDisk: disk.file, files });
  await node.waitFor({ phase: "mount", kind: "done" });
  return node;
}

describe("a node whose boot is disturbed", function () {
  this.timeout(150_000);
  const open = new AsyncDisposableStack();
  let lab: Lab;
  reportFailures(() => lab);

  before(async () => {
    lab = open.use(await Lab.open({ leaseSeconds: 600 }));
  });
  after(async () => open.disposeAsync());

  it("waits for a KMS that is away, says so, and goes on by itself when it is there", async () => {
    const enrolled = await lab.addNode("waits");
    const disk = lab.blankDisk();
    const before = disk.digest();
    await lab.kms.stop();
    await using node = await startNode({ enrolled, stateDisk: disk.file, files });
    try {
      await node.waitFor({ phase: "attest", kind: "retried", code: "KMS_UNREACHABLE" });
      await sleep(15_000);
      const { state, failure } = await node.status();
      assert.equal(state, "booting");
      assert.deepEqual(
        [failure?.code, failure?.phase, failure?.remedy],
        ["KMS_UNREACHABLE", "attest", REMEDY.KMS_UNREACHABLE],
      );
      assert.equal(disk.digest(), before, "nothing may be written meanwhile");
      assert.equal(
        node.events.filter(({ message }) => message.endsWith("starts")).length,
        1,
        "the same agent waits",
      );
    } finally {
      await lab.kms.start();
    }
    await node.waitFor({ phase: "mount", kind: "done" });
    await node.shutdown();
    assert.deepEqual((await lab.record("waits")).disk.epoch, 1);
  });

  /** Milliseconds after the first byte of the format's intent. */
  for (const delay of [0, 150, 400])
    it(`I10 formats again after a power cut ${delay} ms into the first format`, async () => {
      const name = `cut-${delay}`;
      const enrolled = await lab.addNode(name);
      const disk = lab.blankDisk();
      await using node = await startNode({ enrolled, stateDisk: disk.file, files });
      await node.waitFor({ phase: "unseal", kind: "started" });
      while (disk.read(RECORD_OFFSETS[0], 512).every((byte) => byte === 0)) await sleep(2);
      await sleep(delay);
      await node.powerCut();
      const { disk: cut } = await lab.record(name);
      assert.ok(["formatting", "sealed"].includes(cut.state), cut.state);
      // The first machine is gone for good, which the KMS can't know.
      await lab.kms.sealet("nodes", "release", name);

      await using second = await mounted(enrolled, disk);
      await second.output("echo kept > /var/lib/kept");
      await second.shutdown();
      const { disk: known } = await lab.record(name);
      assert.deepEqual([known.state, known.uuid], ["sealed", cut.uuid]);
      await using third = await mounted(enrolled, disk);
      assert.equal(await third.output("cat /var/lib/kept"), "kept\n");
      await third.powerCut();
    });

  it("I10 keeps what was synced through a power cut", async () => {
    const enrolled = await lab.addNode("synced");
    const disk = lab.blankDisk();
    await using first = await mounted(enrolled, disk);
    await first.output("echo kept > /var/lib/kept; sync; head -c 8M /dev/urandom > /var/lib/lost");
    await first.powerCut();
    await lab.kms.sealet("nodes", "release", "synced");
    await using second = await mounted(enrolled, disk);
    assert.equal(await second.output("cat /var/lib/kept"), "kept\n");
    assert.equal((await lab.record("synced")).disk.epoch, 2);
    await second.powerCut();
  });
});
