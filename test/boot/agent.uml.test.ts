/** The agent's own process, as root on a machine that is no node: what it says, to whom, and what it leaves. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Event } from "../../agent/api/gen/sealet.ts";
import { METHOD, askAgent, watchAgent } from "../../agent/cli/node-client.ts";
import { MEASURED_PATH } from "../../agent/config/measured.ts";
import { kill } from "../uml/kill.ts";

const main = resolve(import.meta.dirname, "../../agent/main.ts");
const runtime = "/run/sealet-test";
const socket = join(runtime, "agent.sock");
const quiet = "--disable-warning=ExperimentalWarning";

// Asked from this process: each start of a program from its sources costs seconds here.
async function failureNow() {
  const { state, failure } = await askAgent({ socket }, METHOD.getStatus, {});
  return { state, code: failure?.code, phase: failure?.phase };
}
async function eventsNow(): Promise<Event[]> {
  const events: Event[] = [];
  const all = { afterSequence: 0n, follow: false, bootId: "" };
  for await (const event of watchAgent({ socket }, all, new AbortController().signal)) events.push(event);
  return events;
}

describe("sealet agent", function () {
  this.timeout(60_000);
  let agent: ChildProcess;
  let output = "";

  const start = async () => {
    output = "";
    const env = { SEALET_TEST: "c4nary-of-the-environment" };
    agent = spawn(process.execPath, [quiet, main, "agent", "--runtime", runtime], { env });
    for (const stream of [agent.stdout, agent.stderr])
      stream?.on("data", (data: Buffer) => (output += data.toString()));
    while (!existsSync(socket) || !output.includes("lock")) await delay(50);
  };
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    const exited = new Promise<number | null>((done) => agent.once("exit", (code) => done(code)));
    if (signal === "SIGKILL" && agent.pid !== undefined) kill(agent.pid);
    else agent.kill(signal);
    return exited;
  };
  beforeEach(() => rmSync(runtime, { recursive: true, force: true }));

  it("that cannot boot the machine stays, and tells why to root alone", async () => {
    await start();
    assert.deepEqual(await failureNow(), { state: "failed", code: "CONFIG_INVALID", phase: "configure" });
    assert.equal(statSync(runtime).mode & 0o777, 0o700);
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    const script = `import("node:net").then(({ connect }) => connect(${JSON.stringify(socket)})
      .on("connect", () => process.exit(0)).on("error", () => process.exit(9)))`;
    const stranger = spawnSync(process.execPath, ["-e", script], { uid: 65534, gid: 65534 });
    assert.equal(stranger.status, 9);
    assert.equal(await end("SIGTERM"), 0);
  });

  it("I10 goes on with the events of the one that was killed", async () => {
    await start();
    const before = await eventsNow();
    assert.equal(await end("SIGKILL"), null);
    await start();
    const after = await eventsNow();
    assert.deepEqual(after.slice(0, before.length), before);
    assert.ok(after.every(({ sequence }, index) => sequence === BigInt(index + 1)));
    assert.ok(after.filter(({ message }) => message.endsWith("starts")).length === 2);
    await end("SIGTERM");
  });

  it("names a missing initdata as such, after it looked for it a while", async () => {
    mkdirSync(resolve(MEASURED_PATH, ".."), { recursive: true });
    writeFileSync(
      MEASURED_PATH,
      readFileSync(resolve(import.meta.dirname, "../../image/system/overlay", `.${MEASURED_PATH}`)),
    );
    try {
      await start();
      assert.deepEqual(await failureNow(), { state: "failed", code: "INITDATA_MISSING", phase: "configure" });
      const events = await eventsNow();
      assert.equal(events.filter(({ kind }) => kind === "retried").length, 6);
      await end("SIGTERM");
    } finally {
      rmSync(MEASURED_PATH);
    }
  });

  it("I9 has nothing of its environment in log, events or files, and can't be made to dump core", async () => {
    await start();
    const limits = readFileSync(`/proc/${agent.pid ?? 0}/limits`, "utf8");
    assert.match(limits, /^Max core file size +0 +0/m);
    const said = (await eventsNow()).map(({ message }) => message);
    const texts = [output, ...said, readFileSync(join(runtime, "events.jsonl"), "utf8")];
    for (const text of texts) assert.equal(text.includes("c4nary"), false);
    await end("SIGTERM");
  });
});
