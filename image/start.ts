/**
 * `npm start`: from a fresh machine to a confidential node that is Ready with a pod on it, in one command. Sets up what
 * is missing, starts a cluster and its key service on this machine, powers a virtual machine with the node image on,
 * and stays until Ctrl-C. With `--once` it ends when everything was shown; `--release` takes the release flavour, which
 * finds no TEE in a plain virtual machine and therefore refuses to boot further.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pico from "picocolors";
import { statusText } from "../agent/cli/status.ts";
import { startCluster, type TestCluster } from "../test/cluster/cluster.ts";
import { startPod } from "../test/cluster/pod.ts";
import type { Line } from "../test/vm/console.ts";
import type { Machine } from "../test/vm/machine.ts";
import { nodeStatus } from "../test/vm/node-api.ts";
import { machineParts, vmNode, type VmNode } from "../test/vm/node.ts";
import { cacheFolder } from "./artefact.ts";
import { main, SetupError } from "./command.ts";
import { elapsed, say } from "./progress.ts";
import { bootSteps, timeTable } from "./timeline.ts";

const NODE = "node-1";
const POD = "hello";

await main(async () => {
  const { values } = parseArgs({ options: { once: { type: "boolean" }, release: { type: "boolean" } } });
  const flavour = values.release === true ? "release" : "lab";
  const parts = await machineParts(flavour);
  const folder = join(cacheFolder, "demo");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  say(
    "starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler and sealet kms on this machine",
  );
  const cluster = await startCluster({ folder, measurements: [parts.measurement] });
  const node = await vmNode(cluster, parts, NODE, join(folder, NODE));
  const stopped = interrupted();
  say(`powering ${NODE} on: ${parts.image.disk}`);
  const machine = await node.boot({ timeoutSeconds: 86_400 });
  machine.console.watch(show);
  try {
    await Promise.race([follow(cluster, node, machine), stopped, refused(machine)]);
    if (values.once !== true) await Promise.race([stopped, machine.off]);
  } finally {
    say("stopping");
    await machine.cut();
    await cluster.stop();
  }
});

/** Until the pod runs; then shows what there is. */
async function follow(cluster: TestCluster, node: VmNode, machine: Machine): Promise<void> {
  const since = () => (performance.now() - machine.poweredOn) / 1000;
  const pod = startPod(cluster, POD, NODE);
  await cluster.nodeReady(NODE, 600);
  const ready = since();
  say(pico.green(`${NODE} is Ready, ${ready.toFixed(1)} s after power-on`));
  await pod;
  await cluster.podPhase(POD, "Running", 300);
  const running = since();
  say(pico.green(`pod ${POD} runs on it, ${running.toFixed(1)} s after power-on`));
  const steps = bootSteps(machine.console.lines, { ready, running });
  console.log(`\nWhere the seconds went:\n${timeTable(steps)}\n`);
  console.log(await cluster.kubectl("get", "nodes,pods", "-o", "wide"));
  console.log(`$ kubectl logs ${POD}\n${await cluster.kubectl("logs", POD)}`);
  console.log(
    `$ sealet status\n${statusText(await nodeStatus(cluster.controlPlane, NODE, node.address), pico)}\n`,
  );
  const look = [
    [`the whole took ${elapsed().toFixed(0)} s; everything is below`, cluster.controlPlane.folder],
    [
      "look at the cluster",
      `${cluster.controlPlane.program} --kubeconfig ${cluster.controlPlane.kubeconfig} get all -A`,
    ],
    ["look at the key service", `${cluster.kms.program} nodes list --socket ${cluster.kms.socket}`],
    ["what it released and refused", `${cluster.kms.program} audit list --socket ${cluster.kms.socket}`],
    ["the machine's console and journal", `${node.folder}/console.log, journal.log`],
    ["stop", "Ctrl-C"],
  ];
  for (const [what = "", how = ""] of look) console.log(`${pico.bold(what)}\n    ${how}`);
}

/** The machine's own words, as they come. */
function show({ text }: Line): void {
  const event = /^sealet: (\S+) (\S+) ?(.*)$/u.exec(text);
  if (event === null) {
    if (/^\[ *[\d.]+\] initrd: (?:root|FATAL)|Linux version|Kernel panic/u.test(text)) say(pico.dim(text));
    return;
  }
  const [, phase = "", kind = "", message = ""] = event;
  const colour = { done: pico.green, failed: pico.red, retried: pico.yellow }[kind] ?? pico.dim;
  say(`${phase.padEnd(10)} ${colour(kind.padEnd(8))} ${message}`);
}

/** A node that fails says so and stays as it is: nothing more will come. */
async function refused(machine: Machine): Promise<never> {
  const { text } = await machine.console.waitFor(/^sealet: agent note [A-Z_]+ failed/u, 86_400);
  throw new SetupError(`The node did not come up: ${text.replace("sealet: agent note ", "")}`);
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, resolve);
  });
}
