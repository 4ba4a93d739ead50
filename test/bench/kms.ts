/**
 * Unseals a second, end to end: challenge and unseal over TLS with a twin's report, appraised, decided, written to the
 * audit log with an fsync, and the keys wrapped. The clients share this machine with the KMS, which costs it.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { unframeInitdata } from "../../agent/config/initdata-disk.ts";
import { strictPolicy } from "../attest/snp/policies.ts";
import { certificateAuthority } from "../cluster/certificates.ts";
import { startTestKms } from "../cluster/kms.ts";
import { Machine, twinCa } from "../kms/cluster.ts";

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
  await using open = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "sealet-bench-"));
  open.defer(() => rmSync(folder, { recursive: true }));
  const kms = await startTestKms({
    folder: join(folder, "kms"),
    cluster: "prod",
    bind: "127.0.0.1",
    addresses: ["127.0.0.1"],
    apiServer: "https://127.0.0.1:1",
    authority: await certificateAuthority(folder, "prod"),
    twin: twinCa,
    policy: strictPolicy(twinCa),
    leaseSeconds: 300,
  });
  open.defer(kms.stop);
  console.log(
    `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores; the release executable as KMS, clients one process`,
  );
  console.log("nodes at once   unseals/s   p50 ms   p99 ms   KMS CPU");
  for (const lanes of LANES) {
    const documents: string[] = [];
    for (let i = 0; i < lanes; i++) {
      const { file } = await kms.addNode(`n${lanes}-${i}`);
      documents.push(unframeInitdata(readFileSync(file)).toString("base64"));
    }
    const before = cpuSeconds(kms.pid());
    const since = performance.now();
    const { unseals, milliseconds, latencies } = await inChild({ address: kms.endpoint, documents });
    const cpu = (cpuSeconds(kms.pid()) - before) / ((performance.now() - since) / 1000);
    const at = (part: number) =>
      (latencies[Math.floor(part * (latencies.length - 1))] ?? 0).toFixed(1).padStart(8);
    const rate = ((unseals / milliseconds) * 1000).toFixed(0).padStart(12);
    console.log(`${String(lanes).padStart(13)}${rate} ${at(0.5)} ${at(0.99)}   ${(100 * cpu).toFixed(0)} %`);
  }
}

/** User and system time of a process and all its threads (proc(5), stat: in hundredths). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /su, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
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
