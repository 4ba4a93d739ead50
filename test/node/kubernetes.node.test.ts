/** The whole way: a machine is powered on and a pod runs on its node; with a KMS and a control plane on this machine. */
import assert from "node:assert/strict";
import { PHASES } from "../../agent/boot/phase.ts";
import { POD_IMAGE } from "../../image/oci.ts";
import { STOP_AND_KILL } from "../uml/kill.ts";
import type { StateDisk } from "./disk.ts";
import { eventually, Lab, type Enrolled } from "./lab.ts";
import { startNode, type TestNode } from "./node.ts";
import { reportFailures } from "./report.ts";
import { inGuest, programs, type Unit } from "./root.ts";
import { phaseOf } from "./status.ts";

const MEMORY = 1024;
/** Renewed after half a minute; an agent that is killed again and again must not lose it. */
const LEASE_SECONDS = 60;

/** No registry has the pods' image. */
async function importPodImage(node: TestNode): Promise<void> {
  const archive = `${inGuest((await programs()).pod)}/hello.tar`;
  await node.output(`ctr --namespace k8s.io images import ${archive}`);
}

/** Keeps a counter of its starts on the node's disk. */
function pod(name: string): string {
  const container = {
    name: "hello",
    image: POD_IMAGE,
    imagePullPolicy: "Never",
    args: ["/data/starts"],
    volumeMounts: [{ name: "data", mountPath: "/data" }],
  };
  const hostPath = { path: `/var/lib/test-data/${name}`, type: "DirectoryOrCreate" };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      containers: [container],
      securityContext: { runAsUser: 0 },
      automountServiceAccountToken: false,
      volumes: [{ name: "data", hostPath }],
    },
  });
}

/** What an agent says first. */
const START = /^sealet .* starts$/u;
const KILLER_SCRIPT = "/usr/lib/test-killer";
const KILLER: Unit = {
  name: "test-killer.service",
  text: `[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/bash ${KILLER_SCRIPT}\n`,
};

/** Kills an agent in each of the phases, the next one in the next; inside the guest, within milliseconds. */
function killer(phases: readonly string[]): string {
  return `
    ${STOP_AND_KILL}
    mkdir -p -m 700 /run/sealet
    new=yes
    tail -n +1 -s 0.01 -F /run/sealet/events.jsonl 2> /dev/null | for phase in ${phases.join(" ")}; do
      while read -r event; do
        case $event in
          *' starts"'*) new=yes ;;
          *'"phase":"'$phase'","kind":"started"'*) [ $new = no ] || break ;;
        esac
      done
      new=no
      read -r pid < /sys/fs/cgroup/system.slice/sealet.service/cgroup.procs && stop_and_kill "$pid"
    done`;
}

describe("a node of a Kubernetes cluster", function () {
  this.timeout(240_000);
  const open = new AsyncDisposableStack();
  let lab: Lab;
  let enrolled: Enrolled;
  let disk: StateDisk;
  reportFailures(() => lab);

  before(async () => {
    lab = open.use(await Lab.open({ kubernetes: true, leaseSeconds: LEASE_SECONDS }));
    enrolled = await lab.addNode("node-1");
    disk = lab.blankDisk();
  });
  after(async () => open.disposeAsync());

  async function ready(node: TestNode): Promise<void> {
    lab.kubernetes.controlPlane.locate(node.name, node.address);
    await node.reach("serving", 120_000);
    await lab.kubernetes.nodeReady(node.name, 60);
  }

  it("is Ready after its first boot, and runs a pod", async () => {
    const begun = performance.now();
    await using node = await startNode({ enrolled, stateDisk: disk.file, memory: MEMORY });
    await ready(node);
    console.log(`      Ready ${((performance.now() - begun) / 1000).toFixed(1)} s after power-on`);
    for (const { phase, kind, durationMs } of node.events)
      if (kind === "done") console.log(`      ${phase} ${durationMs ?? 0} ms`);
    const status = await node.status();
    assert.equal(phaseOf(status, "unseal").detail, "formatted, epoch 1");
    assert.deepEqual([status.disk?.open, status.disk?.mountPoint], [true, "/var"]);
    await importPodImage(node);
    await lab.kubernetes.kubectl("apply", "-f", lab.write("pod.json", pod("hello")));
    await lab.kubernetes.podPhase("hello", "Running", 60);
    console.log(`      pod runs ${((performance.now() - begun) / 1000).toFixed(1)} s after power-on`);
    assert.match(await lab.kubernetes.kubectl("logs", "hello"), /hello from pod hello/u);
    const node1 = await lab.kubernetes.kubectl("get", "node", "node-1", "-o", "json");
    assert.match(node1, /sev-snp/u, "the node's object tells its TEE");
    await node.shutdown();
  });

  it("keeps its data over a reboot and never formats again", async () => {
    await using node = await startNode({ enrolled, stateDisk: disk.file, memory: MEMORY });
    await ready(node);
    const status = await node.status();
    assert.equal(phaseOf(status, "unseal").detail, "opened, epoch 2");
    await lab.kubernetes.podPhase("hello", "Running", 60);
    await eventually(
      "the pod's second start",
      60,
      async () => (await node.output("cat /var/lib/test-data/hello/starts")) === "2",
    );
    assert.equal(await node.output("ls /var/lib/kubelet/pods | wc -l"), "1\n", "kubelet's own state is kept");
    assert.deepEqual(
      (await lab.history("node-1")).filter((line) => line.startsWith("release")),
      ["release OK", "release OK"],
    );
    await node.shutdown();
  });

  it("has its kubelet back when that is killed, and the pod never notices", async () => {
    await using node = await startNode({ enrolled, stateDisk: disk.file, memory: MEMORY });
    await ready(node);
    await eventually(
      "the pod's third start",
      60,
      async () => (await node.output("cat /var/lib/test-data/hello/starts")) === "3",
    );
    const pid = await node.output("systemctl show --property=MainPID --value kubelet");
    await node.output("systemctl kill --signal=KILL kubelet");
    await eventually("another kubelet that is healthy", 60, async () => {
      const script = "systemctl show --property=MainPID --value kubelet; exec 3<>/dev/tcp/127.0.0.1/10248";
      const { exit, stdout } = await node.exec(script);
      return exit === 0 && stdout !== pid && stdout !== "0\n";
    });
    assert.equal((await node.status()).state, "serving");
    assert.equal(await node.output("cat /var/lib/test-data/hello/starts"), "3", "the pod went on");
    // The agent goes on after its own death, too, without touching what runs.
    const kubelet = await node.output("systemctl show --property=MainPID --value kubelet");
    const { sequence } = node.events.at(-1) ?? { sequence: 0 };
    await node.output(`${STOP_AND_KILL}\nstop_and_kill $(systemctl show --property=MainPID --value sealet)`);
    await node.waitFor({ phase: "agent", message: /^serving$/u, after: sequence });
    assert.equal(await node.output("systemctl show --property=MainPID --value kubelet"), kubelet);
    assert.equal((await node.status()).failure, undefined);
    await node.shutdown();
  });

  it("I2 stops kubelet and pods and closes its disk while its evidence does not meet the policy", async () => {
    await using node = await startNode({ enrolled, stateDisk: disk.file, memory: MEMORY, timeout: 240_000 });
    await ready(node);
    await lab.applyPolicy((policy) => ({ ...policy, measurement: { anyOf: ["cd".repeat(48)] } }));
    const status = await node.reach("locked", 90_000);
    assert.equal(status.failure?.code, "EVIDENCE_REFUSED");
    await node.waitFor({ phase: "lock", kind: "done", message: /^state disk/u });
    const { stdout } = await node.exec("systemctl is-active kubelet containerd; pgrep hello; ls /dev/mapper");
    assert.equal(stdout, "inactive\ninactive\ncontrol\n");
    await lab.applyPolicy();
    const after = node.events.at(-1)?.sequence ?? 0;
    await node.waitFor({ phase: "agent", message: /^serving$/u, after }, 120_000);
    await lab.kubernetes.nodeReady(node.name, 60);
    await node.shutdown();
  });

  it("I10 comes to the same end when its agent is killed in each phase of the first boot", async () => {
    const other = await lab.addNode("node-2");
    await using node = await startNode({
      enrolled: other,
      stateDisk: lab.blankDisk().file,
      memory: MEMORY,
      units: [KILLER],
      files: { [KILLER_SCRIPT]: killer(PHASES) },
    });
    let after = 0;
    for (const _ of [...PHASES, "the last"])
      after = (await node.waitFor({ phase: "agent", message: START, after })).sequence;
    await node.waitFor({ phase: "agent", message: /^serving$/u, after });
    await ready(node);
    assert.equal(node.events.filter(({ message }) => START.test(message)).length, PHASES.length + 1);
    assert.equal((await lab.record("node-2")).disk.state, "sealed");
    assert.equal((await node.status()).failure, undefined);
    await node.shutdown();
  });
});
