/** The node image in a virtual machine: firmware, measured kernel, verified root, agent, twin, disk, kubelet. */
import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  copyFileSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { startCluster, type TestCluster } from "../cluster/cluster.ts";
import { startPod } from "../cluster/pod.ts";
import type { Machine } from "./machine.ts";
import { nodeStatus } from "./node-api.ts";
import { machineParts, vmNode, type Parts, type VmNode } from "./node.ts";

/** Seconds, on a machine without KVM that others use, too. */
const BOOT = 240;
const OTHER_MEASUREMENT = "5a".repeat(48);
/** What the host would have systemd take; kubelet tells the one it took. */
const MACHINE_ID = "5a".repeat(16);
const ANOTHER_MACHINE_ID = new RegExp(`^(?!${MACHINE_ID})[0-9a-f]{32}$`, "u");

const records = z.array(
  z.object({ name: z.string(), disk: z.object({ state: z.string(), uuid: z.string(), epoch: z.number() }) }),
);

/** The agent's last word of a boot that failed; kubelet was never asked for. */
async function refusal(machine: Machine): Promise<string> {
  const { text } = await machine.console.waitFor(/^sealet: agent note [A-Z_]+ failed/u, BOOT);
  assert.doesNotMatch(machine.console.text, /^sealet: (?:mount|enrol|kubelet) /mu);
  return text.replace("sealet: agent note ", "").replace(/ failed.*$/u, "");
}

/** A snapshot of a disk, as the host may take one at any time. */
function copyDisk(file: string): string {
  const copy = `${file}.copy`;
  copyFileSync(file, copy, constants.COPYFILE_FICLONE);
  return copy;
}

/** Changes one byte in each mebibyte of the image's root. @see UEFI 2.10, §5.3, GPT: 128-byte entries from sector 2 on */
function tamperWithRoot(file: string): void {
  const disk = openSync(file, "r+");
  const table = Buffer.alloc(128 * 128);
  readSync(disk, table, 0, table.length, 2 * 512);
  const at = table.indexOf(Buffer.from("root-x86-64\0", "utf16le")) - 56;
  assert.ok(at >= 0 && at % 128 === 0, "the root's entry");
  const [first, last] = [table.readBigUInt64LE(at + 32), table.readBigUInt64LE(at + 40)];
  const byte = Buffer.alloc(1);
  for (let place = Number(first) * 512 + 4096; place < Number(last) * 512; place += 2 ** 20) {
    readSync(disk, byte, 0, 1, place);
    byte.writeUInt8(byte.readUInt8() ^ 1);
    writeSync(disk, byte, 0, 1, place);
  }
  closeSync(disk);
}

/** Bytes that were ever written to a disk. */
function written(file: string): number {
  return statSync(file).blocks * 512;
}

describe("the node image in a virtual machine", () => {
  let folder: string;
  let parts: Parts;
  let cluster: TestCluster;
  const on = new Set<Machine>();

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "sealet-vm-"));
    parts = await machineParts("lab");
    // so long that no lease ends unasked in the middle of a test
    cluster = await startCluster({ folder, measurements: [parts.measurement], leaseSeconds: 600 });
  });

  afterEach(async function () {
    for (const machine of on) {
      if (this.currentTest?.state === "failed")
        console.log(machine.console.text.replaceAll(/^/gmu, "    | "));
      await machine.cut();
    }
    on.clear();
  });

  after(async () => {
    await cluster.stop();
    rmSync(folder, { recursive: true });
  });

  const addNode = (name: string) => vmNode(cluster, parts, name, join(folder, name));
  const powerOn = async (node: VmNode, options?: Parameters<VmNode["boot"]>[0]): Promise<Machine> => {
    const machine = await node.boot({ timeoutSeconds: 2 * BOOT, ...options });
    on.add(machine);
    return machine;
  };
  const record = async (name: string) => {
    const found = records.parse(await cluster.kms.sealet("nodes", "list")).find((node) => node.name === name);
    assert(found, `the KMS knows no ${name}`);
    return found.disk;
  };
  describe("a first boot, a reboot, a second machine", () => {
    let node: VmNode;
    before(async () => {
      node = await addNode("node-1");
    });

    it("formats the blank disk, becomes Ready and runs a pod; the host's credentials are not imported", async () => {
      const credential = `system.machine_id=${MACHINE_ID}`;
      const machine = await powerOn(node, {
        host: [
          ...["-smbios", `type=11,value=io.systemd.credential:${credential}`],
          ...["-fw_cfg", `name=opt/io.systemd.credentials/${credential.replace("=", ",string=")}`],
        ],
      });
      await machine.console.waitFor(/^sealet: unseal done formatted, epoch 1/u, BOOT);
      await cluster.nodeReady(node.name, BOOT);
      await startPod(cluster, "hello", node.name);
      await cluster.podPhase("hello", "Running", BOOT);
      await cluster.eventually("the pod's greeting", 30, async () =>
        /on node node-1, start 1/u.test(await cluster.kubectl("logs", "hello")),
      );
      const status = await nodeStatus(cluster.controlPlane, node.name, node.address);
      assert.equal(status.state, "serving");
      assert.equal(status.disk?.epoch, 1n);
      const machineId = ["-o", "jsonpath={.status.nodeInfo.machineID}"];
      assert.match(await cluster.kubectl("get", "node", node.name, ...machineId), ANOTHER_MACHINE_ID);
      machine.press();
      await machine.off;
      assert.match(machine.console.text, /Lease [0-9a-f]+ given back/u);
    });

    it("keeps its data over a reboot, and formats nothing", async () => {
      const { uuid } = await record(node.name);
      const machine = await powerOn(node);
      await machine.console.waitFor(/^sealet: serve done/u, BOOT);
      assert.doesNotMatch(machine.console.text, /formatted/u);
      assert.deepEqual(await record(node.name), { state: "sealed", uuid, epoch: 2 });
      await cluster.eventually("the pod's second start", BOOT, async () =>
        /on node node-1, start 2/u.test(await cluster.kubectl("logs", "hello")),
      );
      const thief = await powerOn(node, {
        folder: join(folder, "thief"),
        launch: { chip: "another" },
        state: copyDisk(node.state),
      });
      await thief.console.waitFor(/^sealet: unseal retried LEASE_HELD/u, BOOT);
      assert.doesNotMatch(thief.console.text, /^sealet: (?:mount|enrol|kubelet) /mu);
    });

    it("I10 comes up after a power cut", async () => {
      // the machine that lost its power still holds the lease; an operator, or its end, frees the identity
      await cluster.kms.sealet("nodes", "release", node.name);
      const machine = await powerOn(node);
      await machine.console.waitFor(/^sealet: serve done/u, BOOT);
      assert.equal((await record(node.name)).state, "sealed");
      await cluster.eventually("the pod's next start", BOOT, async () =>
        /on node node-1, start [34]/u.test(await cluster.kubectl("logs", "hello")),
      );
    });
  });

  it("I10 a power cut in the middle of the first format ends in a formatted disk", async () => {
    const node = await addNode("node-2");
    const first = await powerOn(node);
    await first.console.waitFor(/^sealet: attest done/u, BOOT);
    // the format has begun once the disk has its first bytes
    await cluster.eventually("the first write", BOOT, () => Promise.resolve(written(node.state) > 0));
    await first.cut();
    on.delete(first);
    await cluster.kms.sealet("nodes", "release", node.name);
    const second = await powerOn(node);
    await second.console.waitFor(/^sealet: serve done/u, BOOT);
    assert.equal((await record(node.name)).state, "sealed");
  });

  it("I1 gives no key to an image that the policy does not name, and nothing is formatted", async () => {
    const node = await addNode("node-3");
    const machine = await powerOn(node, { launch: { measurement: OTHER_MEASUREMENT } });
    assert.equal(await refusal(machine), "EVIDENCE_REFUSED");
    assert.equal(written(node.state), 0);
    assert.equal((await record(node.name)).state, "expects-blank");
  });

  it("I8 runs nothing of a root that was changed", async () => {
    const image = join(folder, "tampered.raw");
    copyFileSync(parts.image.disk, image);
    tamperWithRoot(image);
    const node = await addNode("tampered");
    const machine = await powerOn(node, { image });
    await machine.console.waitFor(/dm-verity device corrupted/u, BOOT);
    assert.doesNotMatch(machine.console.text, /^sealet: /mu);
    assert.equal(written(node.state), 0);
  });

  it("I8 runs nothing with a command line to which the host added", async () => {
    const node = await addNode("added");
    const extra = "io.systemd.stub.kernel-cmdline-extra=systemd.unit=rescue.target";
    const machine = await powerOn(node, { host: ["-smbios", `type=11,value=${extra}`] });
    const { text } = await machine.console.waitFor(/initrd: FATAL/u, BOOT);
    assert.match(
      text,
      /the command line is not the image's own: .* systemd\.unit=rescue\.target"; powering off$/u,
    );
    await machine.off;
    assert.doesNotMatch(machine.console.text, /initrd: root|^sealet: /mu);
    assert.equal(written(node.state), 0);
  });

  it("I8 the release flavour does not know the twin: no TEE, no boot", async () => {
    const release = await machineParts("release");
    const node = await vmNode(cluster, release, "node-4", join(folder, "node-4"));
    const machine = await powerOn(node);
    assert.equal(await refusal(machine), "TEE_ABSENT");
    assert.equal(written(node.state), 0);
  });
});
