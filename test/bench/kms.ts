/**
 * Unseals a second, end to end: challenge and unseal over TLS with a twin's report, appraised, decided, written to the
 * audit log with an fsync, and the keys wrapped. Clients and KMS share this machine; the clients run in a process of
 * their own, and what they cost the KMS's core is part of the figure.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { Cluster, Machine } from "../kms/cluster.ts";

const LANES = [1, 4, 24];
const SECONDS = 6;

interface Job {
  readonly address: string;
  /** Initdata of the nodes that ask at once, base64. */
  readonly documents: readonly string[];
}

interface Result {
  readonly unseals: number;
  readonly milliseconds: number;
  /** Sorted. */
  readonly latencies: readonly number[];
}

async function clients({ address, documents }: Job): Promise<Result> {
  const machines = await Promise.all(
    documents.map((document) => Machine.bootAt(address, Buffer.from(document, "base64"))),
  );
  for (const machine of machines) await machine.start();
  const latencies: number[] = [];
  const from = performance.now();
  await Promise.all(
    machines.map(async (machine) => {
      while (performance.now() - from < SECONDS * 1000) {
        const before = performance.now();
        (await machine.unseal())[Symbol.dispose]();
        latencies.push(performance.now() - before);
      }
    }),
  );
  const milliseconds = performance.now() - from;
  for (const machine of machines) machine[Symbol.dispose]();
  return { unseals: latencies.length, milliseconds, latencies: latencies.toSorted((a, b) => a - b) };
}

async function main(): Promise<void> {
  await using cluster = await Cluster.start({
    limits: { noncesPerPeer: 1e6, nonces: 1e6, refusalsPerMinute: 1e6, appraisals: 1e6, connections: 1e4 },
  });
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores; KMS and clients one process each`);
  console.log("nodes at once   unseals/s   p50 ms   p99 ms   KMS CPU");
  for (const lanes of LANES) {
    const documents: string[] = [];
    for (let i = 0; i < lanes; i++)
      documents.push((await cluster.addNode(`n${lanes}-${i}`)).toString("base64"));
    const job: Job = { address: cluster.kms.address, documents };
    const before = process.cpuUsage();
    const { unseals, milliseconds, latencies } = await inChild(job);
    const { user, system } = process.cpuUsage(before);
    const at = (part: number) =>
      (latencies[Math.floor(part * (latencies.length - 1))] ?? 0).toFixed(1).padStart(8);
    const rate = ((unseals / milliseconds) * 1000).toFixed(0).padStart(12);
    const cpu = `${((user + system) / 10 / milliseconds).toFixed(0)} %`;
    console.log(`${String(lanes).padStart(13)}${rate} ${at(0.5)} ${at(0.99)}   ${cpu}`);
  }
}

async function inChild(job: Job): Promise<Result> {
  const child = fork(import.meta.filename, ["clients"], { serialization: "advanced" });
  child.send({ ...job });
  const exit = once(child, "exit");
  const answered = new Promise<Result>((resolve) =>
    child.once("message", (result: Result) => resolve(result)),
  );
  const result = await Promise.race([answered, exit.then(() => undefined)]);
  if (result === undefined) throw new Error("the clients failed");
  await exit;
  return result;
}

async function answer(job: Job): Promise<void> {
  process.send?.(await clients(job));
  process.disconnect?.();
}

if (process.argv[2] === "clients")
  process.once("message", (job: Job) => {
    answer(job).catch(fail);
  });
else await main();

function fail(error: unknown): void {
  console.error(error);
  process.exit(1);
}
