/** What is left of Kubernetes on a node that stops: no process of a pod, no mount of one, whatever systemd says. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SealetError } from "../../agent/error.ts";
import { stopKubernetes } from "../../agent/kubelet/kubernetes.ts";
import { PLACES } from "../../agent/kubelet/places.ts";
import { mountsBelow } from "../../agent/kubelet/pods.ts";
import type { Services } from "../../agent/kubelet/systemd.ts";
import { mount, unmount } from "../../native/mount.ts";

const never = new AbortController().signal;
const notAsked = (): never => assert.fail("not asked for here");

/** systemd's word on stopping is all that matters here. */
const services = (stop: Services["stop"]): Services => ({
  start: notAsked,
  restart: notAsked,
  isGoingDown: notAsked,
  stop,
});

/** A process in a control group of its own. */
function inGroup(group: string): ChildProcess {
  const folder = join(PLACES.cgroups, group);
  mkdirSync(folder, { recursive: true });
  // One that does not end when it is asked.
  const child = spawn("sh", ["-c", "trap '' TERM; while :; do sleep 1; done"], { stdio: "ignore" });
  writeFileSync(join(folder, "cgroup.procs"), String(child.pid));
  return child;
}

async function mounted(target: string): Promise<string> {
  mkdirSync(target, { recursive: true });
  assert.equal((await mount({ source: "tmpfs", target, type: "tmpfs", flags: [] })).errno, 0);
  return target;
}

const mounts = () => mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), ["/var", "/run", "/srv"]);

describe("stopping Kubernetes", () => {
  for (const [how, stop] of [
    ["", () => Promise.resolve()],
    [
      ", also where systemd fails to",
      () => Promise.reject(new SealetError("SERVICE_FAILED", "systemctl stop: timed out")),
    ],
  ] as const) {
    it(`ends pods and shims and unmounts what they had${how}`, async () => {
      const pods = [
        inGroup("kubepods.slice/kubepods-besteffort.slice/pod1/container"),
        inGroup("kubepods.slice/pod2"),
        inGroup("system.slice/containerd.service"),
      ];
      const other = inGroup("system.slice/other.service");
      const ends = pods.map(async (pod) => once(pod, "exit"));
      const elsewhere = await mounted("/srv/elsewhere");
      const volume = await mounted(join(PLACES.kubelet, "pods/1/volumes/a b"));
      await mounted(join(volume, "within"));
      await mounted(join(PLACES.containerdState, "rootfs"));
      // Somebody is in it.
      const guest = spawn("sleep", ["1000"], { cwd: volume });
      try {
        const stopped = stopKubernetes(services(stop), never);
        if (how === "") await stopped;
        else await assert.rejects(stopped, { code: "SERVICE_FAILED" });
        for (const [, signal] of await Promise.all(ends)) assert.equal(signal, "SIGKILL");
        assert.deepEqual(
          mounts().filter((path) => path !== elsewhere),
          [],
        );
        assert.ok(mounts().includes(elsewhere));
        assert.equal(other.exitCode ?? other.signalCode, null);
      } finally {
        for (const child of [...pods, other, guest]) child.kill("SIGKILL");
        assert.equal((await unmount(elsewhere)).errno, 0);
      }
    });
  }

  it("is content where there was nothing", async () => {
    await stopKubernetes(
      services(() => Promise.resolve()),
      never,
    );
  });
});
