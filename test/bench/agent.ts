/**
 * What the agent itself costs. On this machine: from exec until the socket answers, memory when idle, a command's time.
 * In a node (user-mode Linux, one CPU, second boot): where the time from exec to kubelet's start goes, and what is left
 * of it without TEE and network.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { executable } from "../../image/image.ts";
import { Lab } from "../node/lab.ts";
import { startNode } from "../node/node.ts";
import { median } from "./median.ts";

const RUNS = 5;

const row = (what: string, figure: string) => console.log(`${what.padEnd(44)} ${figure}`);
const ms = (value: number) => `${value.toFixed(0)} ms`;

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function residentMegabytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}

async function onThisMachine(program: string): Promise<void> {
  const ready: number[] = [];
  const idle: number[] = [];
  const status: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const runtime = mkdtempSync(join(tmpdir(), "sealet-bench-"));
    const socket = join(runtime, "agent.sock");
    const since = performance.now();
    const agent = spawn(program, ["agent", "--runtime", runtime], { stdio: "ignore", env: {} });
    while (!(await answers(socket))) await delay(1);
    ready.push(performance.now() - since);
    await delay(2000);
    const before = performance.now();
    const command = spawn(program, ["status", "--socket", socket], { stdio: "ignore", env: {} });
    await new Promise((resolve) => command.once("exit", resolve));
    status.push(performance.now() - before);
    idle.push(residentMegabytes(agent.pid ?? 0));
    const ended = new Promise((resolve) => agent.once("exit", resolve));
    agent.kill("SIGTERM");
    await ended;
    rmSync(runtime, { recursive: true });
  }
  row("executable", `${(statSync(program).size / 1e6).toFixed(0)} MB`);
  row("exec until the socket answers", ms(median(ready)));
  row("sealet status, as a whole", ms(median(status)));
  row("RSS, idle", `${median(idle).toFixed(0)} MB`);
}

/** Phases whose time is the TEE's, the KMS's, or the network's to it. */
const ELSEWHERE = ["attest", "enrol"];

async function inANode(): Promise<void> {
  await using lab = await Lab.open();
  const enrolled = await lab.addNode("bench");
  const disk = lab.blankDisk();
  for (const boot of ["first", "second"]) {
    await using node = await startNode({ enrolled, stateDisk: disk.file });
    const kubelet = await node.waitFor({ phase: "kubelet", kind: "started" });
    if (boot === "second") {
      const clocks = await node.output(
        "systemctl show sealet -P ExecMainStartTimestampMonotonic; cut -d' ' -f1 /proc/uptime; date +%s%3N",
      );
      const [exec = 0, uptime = 0, now = 0] = clocks.trim().split("\n").map(Number);
      const started = now - uptime * 1000 + exec / 1000;
      const whole = kubelet.timeUnixMs - started;
      const durations = node.events
        .filter(({ kind, durationMs = 0 }) => kind === "done" && durationMs > 0)
        .map(({ phase, durationMs = 0 }) => [phase, durationMs] as const);
      row("exec to kubelet's start, in a node", ms(whole));
      for (const [phase, duration] of durations) row(`  ${phase}`, ms(duration));
      const own =
        whole -
        durations.filter(([phase]) => ELSEWHERE.includes(phase)).reduce((sum, [, one]) => sum + one, 0);
      row("  without TEE and network", ms(own));
    }
    await node.shutdown();
  }
}

await onThisMachine(join(await executable(), "sealet"));
await inANode();
