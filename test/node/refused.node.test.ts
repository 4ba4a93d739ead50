/**
 * Nodes that must not get their keys, or must not use them: for each the code, that the disk is as it was, that kubelet
 * does not run, and that `sealet status` says what happened and what to do. They need a KMS and no Kubernetes.
 */
import assert from "node:assert/strict";
import { REMEDY, type Code } from "../../agent/error.ts";
import { MEASUREMENT } from "../attest/snp/policies.ts";
import type { StateDisk } from "./disk.ts";
import { Lab, type Enrolled } from "./lab.ts";
import { startNode, type NodeOptions, type TestNode } from "./node.ts";
import { reportFailures } from "./report.ts";
import { upTo } from "./root.ts";
import type { Status } from "./status.ts";

/** Guest policy with the debug bit. @see SEV-SNP ABI, table 10 */
const DEBUG = "0xb0000";

async function assertNothingRuns(node: TestNode): Promise<void> {
  const { stdout } = await node.exec(
    "systemctl is-active kubelet containerd; ls /dev/mapper; pgrep -l kubelet",
  );
  assert.equal(stdout, "inactive\ninactive\ncontrol\n");
}

/** Opens the disk, or formats it, and goes down. */
async function boot(enrolled: Enrolled, disk: StateDisk): Promise<void> {
  await using node = await startNode({ enrolled, stateDisk: disk.file, files: upTo("mount") });
  await node.waitFor({ phase: "mount", kind: "done" });
  await node.shutdown();
}

describe("a node that must be refused", function () {
  this.timeout(120_000);
  const open = new AsyncDisposableStack();
  let lab: Lab;
  reportFailures(() => lab);

  /** A node with a disk that was sealed by a first boot, powered off since. */
  let known: Enrolled;
  let sealed: StateDisk;
  /** The same disk, of its second boot. */
  let current: StateDisk;

  before(async () => {
    lab = open.use(await Lab.open({ nonceSeconds: 2 }));
    known = await lab.addNode("known");
    sealed = lab.blankDisk();
    await boot(known, sealed);
    current = lab.copyOf(sealed);
    await boot(known, current);
    assert.equal((await lab.record("known")).disk.epoch, 2);
  });
  after(async () => open.disposeAsync());

  interface Refusal {
    readonly code: Code;
    readonly phase: Status["phases"][number]["name"];
    /** What the status says beside the code. */
    readonly says?: RegExp;
    /** The agent goes on trying. */
    readonly waits?: true;
  }

  /** Boots a machine that has to be refused, and looks at everything that has to be as it was. */
  async function refused(options: NodeOptions, disk: StateDisk, refusal: Refusal): Promise<Status> {
    const before = disk.digest();
    const record = await lab.record(options.enrolled.name);
    await using node = await startNode(options);
    await node.waitFor({ phase: refusal.phase, code: refusal.code });
    if (refusal.waits !== true) await node.reach("failed");
    const status = await node.status();
    assert.equal(status.state, refusal.waits === true ? "booting" : "failed");
    assert.equal(status.failure?.code, refusal.code);
    assert.equal(status.failure.phase, refusal.phase);
    assert.equal(status.failure.remedy, REMEDY[refusal.code]);
    if (refusal.says !== undefined)
      assert.match(
        `${status.failure.message} ${status.failure.expected} ${status.failure.found}`,
        refusal.says,
      );
    await assertNothingRuns(node);
    assert.match(await node.output("sealet status"), new RegExp(refusal.code, "u"), "for people, too");
    await node.powerCut();
    assert.equal(disk.digest(), before, "nothing may be written");
    assert.deepEqual(
      (await lab.record(options.enrolled.name)).disk,
      record.disk,
      "the record stays as it was",
    );
    return status;
  }

  it("I1 never gets keys for another measurement than the policy's", async () => {
    const disk = lab.copyOf(current);
    const measurement = "cd".repeat(48);
    const status = await refused({ enrolled: known, stateDisk: disk.file, measurement }, disk, {
      code: "EVIDENCE_REFUSED",
      phase: "unseal",
    });
    assert.equal(status.failure?.found.includes(measurement), true);
    assert.equal(status.failure?.expected.includes(MEASUREMENT), true);
  });

  it("I1 never gets keys for a guest that can be debugged", async () => {
    const disk = lab.copyOf(current);
    const machine = { policy: DEBUG, hostData: known.hostData, measurement: MEASUREMENT };
    await refused({ enrolled: known, stateDisk: disk.file, machine }, disk, {
      code: "EVIDENCE_REFUSED",
      phase: "unseal",
      says: /debug/iu,
    });
  });

  it("I1 never gets keys for a report of before", async () => {
    const disk = lab.copyOf(current);
    // The first nonce expires while the report is on its way; for the second the host plays the first report again. The
    // agent sees it itself; that the KMS refuses it too is shown in test/kms.
    const faults: NodeOptions["faults"] = [
      { kind: "delay", milliseconds: 3000 },
      { kind: "report", replay: true },
    ];
    await refused({ enrolled: known, stateDisk: disk.file, faults }, disk, {
      code: "EVIDENCE_MALFORMED",
      phase: "unseal",
    });
  });

  it("I6 never gets keys with another node's initdata than its launch bound", async () => {
    const other = await lab.addNode("other");
    const disk = lab.copyOf(current);
    const machine = { hostData: other.hostData, measurement: MEASUREMENT };
    // the machine sees it itself; that the KMS refuses it too is shown in test/kms
    await refused({ enrolled: known, stateDisk: disk.file, machine }, disk, {
      code: "INITDATA_INVALID",
      phase: "attest",
      says: new RegExp(other.hostData, "u"),
    });
  });

  it("I8 never boots without a TEE", async () => {
    const disk = lab.copyOf(current);
    await refused({ enrolled: known, stateDisk: disk.file, noTee: true }, disk, {
      code: "TEE_ABSENT",
      phase: "detect",
    });
  });

  it("I3 never formats another node's disk", async () => {
    const fresh = await lab.addNode("fresh");
    const disk = lab.copyOf(current);
    await refused({ enrolled: fresh, stateDisk: disk.file }, disk, {
      code: "DISK_UNEXPECTED",
      phase: "detect",
    });
  });

  it("I3 never formats a known node's disk that was blanked", async () => {
    const disk = lab.blankDisk();
    await refused({ enrolled: known, stateDisk: disk.file }, disk, { code: "DISK_BLANKED", phase: "unseal" });
  });

  it("I3 never formats a disk with a damaged primary header", async () => {
    const disk = lab.copyOf(current);
    disk.write(0, Buffer.alloc(4096, 0xff));
    await refused({ enrolled: known, stateDisk: disk.file }, disk, { code: "DISK_DAMAGED", phase: "detect" });
  });

  it("I3 never formats a disk with somebody else's data", async () => {
    const fresh = await lab.addNode("fresh-2");
    const disk = lab.blankDisk();
    disk.write(1080, Buffer.from([0x53, 0xef])); // ext4's magic
    await refused({ enrolled: fresh, stateDisk: disk.file }, disk, { code: "DISK_FOREIGN", phase: "detect" });
  });

  it("I4 never opens a disk whose header says cipher_null, however right its checksums are", async () => {
    const disk = lab.copyOf(current);
    disk.changeSegment({ encryption: "cipher_null-ecb" });
    await refused({ enrolled: known, stateDisk: disk.file }, disk, {
      code: "HEADER_PROFILE",
      phase: "detect",
    });
  });

  it("I5 never opens an old copy of its disk", async () => {
    const disk = lab.copyOf(sealed);
    await refused({ enrolled: known, stateDisk: disk.file }, disk, {
      code: "DISK_ROLLED_BACK",
      phase: "unseal",
    });
  });

  it("I6 never shares its identity with a second machine while the first one's lease lives", async () => {
    const disk = lab.copyOf(current);
    await using first = await startNode({ enrolled: known, stateDisk: current.file, files: upTo("mount") });
    await first.waitFor({ phase: "mount", kind: "done" });
    await refused({ enrolled: known, stateDisk: disk.file }, disk, {
      code: "LEASE_HELD",
      phase: "unseal",
      waits: true,
    });
    const { state } = await first.status();
    assert.equal(state, "booting", "the first one goes on");
    assert.match(await first.output("findmnt -n -o FSTYPE /var"), /^ext4$/mu);
    await first.shutdown();
    assert.equal((await lab.record("known")).lease, undefined, "a clean shutdown gives the lease back");
  });
});
