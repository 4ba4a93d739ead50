/** The commands on the socket: against an agent's real API, what is printed, to where, and with which exit code. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { Health } from "../../agent/api/health.ts";
import type { NodeView } from "../../agent/api/node-service.ts";
import { type Listener, SERVED, serveSocket, serveTls } from "../../agent/api/server.ts";
import { statusOf } from "../../agent/api/status-view.ts";
import { Journal } from "../../agent/boot/journal.ts";
import { PHASES, type PhaseName, type PhaseState } from "../../agent/boot/phase.ts";
import { EXIT, EXIT_CODE } from "../../agent/cli/exit.ts";
import { Output, printable, toJson } from "../../agent/cli/output.ts";
import { duration, size } from "../../agent/cli/words.ts";
import { REMEDY, SealetError } from "../../agent/error.ts";
import { testCa } from "../api/test-ca.ts";
import { VirtualClock } from "../boot/virtual-clock.ts";
import { run } from "./run.ts";

class Screen {
  readonly isTTY: boolean;
  text = "";
  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
}

const clock = new VirtualClock();
const tampered = new SealetError("HEADER_TAMPERED", "The header is not the one that sealet wrote", {
  expected: "aa",
  found: "bb \u001b[2J\u202e",
});
const phases = new Map<PhaseName, PhaseState>(PHASES.map((name) => [name, { state: "pending" }]));
phases.set("configure", { state: "done", durationMs: 12, attempts: 1, detail: "worker worker-1 of prod" });
phases.set("unseal", { state: "failed", durationMs: 1234, attempts: 1, error: tampered });

let folder: string;
const save = (name: string, content: Buffer): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
let socket: string;
let listener: Listener;
const events = new Journal(clock);
const view: NodeView = {
  bootId: "boot-2",
  events,
  status: () => {
    const configuration = {
      cluster: "prod",
      node: "worker-1",
      role: "worker",
      initdataSha256: "ab",
    } as const;
    const facts = { configuration };
    const state = { state: "failed", phase: "unseal", error: tampered } as const;
    return Promise.resolve(statusOf({ state, phases, facts }, clock, undefined, undefined));
  },
  disk: () => Promise.reject(new SealetError("NOT_SERVING", "There is no state disk yet")),
  evidence: () => {
    const [report, auxiliary, eventLog] = [Buffer.from("0102", "hex"), Buffer.alloc(0), Buffer.alloc(0)];
    return Promise.resolve({ tee: "sev-snp", report, auxiliary, eventLog });
  },
};

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "sealet-cli-"));
  socket = join(folder, "agent.sock");
  listener = await serveSocket({ path: socket, view, health: new Health(SERVED), peer: () => ({ uid: 0 }) });
  events.append({ phase: "configure", kind: "done", durationMs: 12, message: "worker worker-1 of prod" });
  events.append({ phase: "unseal", kind: "failed", code: "HEADER_TAMPERED", message: "changed" });
});
after(async () => {
  await listener.close();
  rmSync(folder, { recursive: true });
});

describe("sealet status", () => {
  it("tells what stands in the way and what to do", async () => {
    const { exit, out } = await run("status", "--socket", socket);
    assert.equal(exit, EXIT.OK);
    assert.match(out, /^node +worker-1$/m);
    assert.match(out, /^unseal +failed +1\.2 s/m);
    assert.match(out, /HEADER_TAMPERED in unseal: The header is not the one that sealet wrote/);
    assert.ok(out.includes(REMEDY.HEADER_TAMPERED));
  });

  it("lets no text from elsewhere draw on the terminal", async () => {
    const { out } = await run("status", "--socket", socket);
    assert.equal(out.includes("\u001b"), false);
    assert.equal(out.includes("\u202e"), false);
    assert.ok(out.includes("bb \\u{1b}[2J\\u{202e}"));
  });

  it("is JSON for programs, before or behind the command", async () => {
    for (const args of [
      ["-o", "json", "status", "--socket", socket],
      ["status", "--socket", socket, "-o", "json"],
    ]) {
      const { exit, out } = await run(...args);
      assert.equal(exit, EXIT.OK);
      const status: { state: string; failure: { code: string }; phases: { durationMs: number }[] } =
        JSON.parse(out);
      assert.equal(status.state, "failed");
      assert.equal(status.failure.code, "HEADER_TAMPERED");
      assert.equal(status.phases[0]?.durationMs, 12);
    }
  });

  it("asks another machine's agent over mutual TLS, under the name of its certificate", async () => {
    const ca = testCa();
    const admin = ca.issue({ CN: "admin", O: "system:masters" }, "client");
    const credentials = [
      ...["--ca", save("ca.crt", ca.certificate)],
      ...["--cert", save("admin.crt", admin.certificate), "--key", save("admin.key", admin.privateKey)],
    ];
    const identity = { ...ca.issue({ CN: "worker-1" }, "serving"), clusterCa: ca.certificate };
    const tls = await serveTls({ host: "127.0.0.1", port: 0, identity, view, health: new Health(SERVED) });
    try {
      const address = ["--address", `127.0.0.1:${tls.port}`];
      const right = await run("status", ...address, "--node", "localhost", ...credentials);
      assert.match(right.out, /worker-1/);
      const wrong = await run("status", ...address, "--node", "worker-2", ...credentials);
      assert.equal(wrong.exit, EXIT_CODE.SERVICE_FAILED);
      const without = await run("status", ...address, "--node", "localhost");
      assert.equal(without.exit, EXIT_CODE.USAGE);
    } finally {
      await tls.close();
    }
  });

  it("says so where no agent runs", async () => {
    const { exit, out, err } = await run("status", "--socket", join(folder, "nobody.sock"));
    assert.equal(exit, EXIT_CODE.SERVICE_FAILED);
    assert.equal(out, "");
    assert.match(err, /^SERVICE_FAILED {2}Nobody answers at .*nobody\.sock: sealet\.service does not run/);
  });

  it("says so where this user may not ask", async () => {
    const root = process.getuid?.() === 0;
    const mode = statSync(socket).mode;
    chmodSync(socket, 0);
    if (root) process.seteuid?.("nobody");
    try {
      const { exit, err } = await run("status", "--socket", socket);
      assert.equal(exit, EXIT_CODE.PERMISSION_DENIED);
      assert.match(err, /^PERMISSION_DENIED {2}This user may not use .*: try it with sudo/);
    } finally {
      if (root) process.seteuid?.("root");
      chmodSync(socket, mode);
    }
  });

  it("gives an error of the agent whole, as JSON too, on standard error", async () => {
    const { exit, err } = await run("disk", "--socket", socket, "-o", "json");
    assert.equal(exit, EXIT_CODE.NOT_SERVING);
    const { error }: { error: { code: string; message: string; remedy: string } } = JSON.parse(err);
    assert.equal(error.message, "There is no state disk yet");
    assert.equal(error.remedy, REMEDY.NOT_SERVING);
  });
});

describe("sealet events and evidence", () => {
  it("lists events in order, after a number, one line each", async () => {
    const all = await run("events", "--socket", socket);
    assert.equal(all.out.trimEnd().split("\n").length, 2);
    assert.match(all.out, /unseal +failed +HEADER_TAMPERED changed/);
    const { out } = await run("events", "--socket", socket, "--after", "1", "-o", "json");
    const event: { sequence: number; code: string; bootId: string } = JSON.parse(out);
    assert.deepEqual([event.sequence, event.code], [2, "HEADER_TAMPERED"]);
    const since = ["--after", "1", "--boot"];
    assert.equal((await run("events", "--socket", socket, ...since, event.bootId)).out.split("\n").length, 2);
    assert.equal((await run("events", "--socket", socket, ...since, "boot-1")).out.split("\n").length, 3);
  });

  it("writes evidence as sealet verify reads it", async () => {
    const file = join(folder, "evidence.json");
    const { exit, out } = await run("evidence", "--socket", socket, "--nonce", "00ff", "--out", file);
    assert.equal(exit, EXIT.OK);
    const written: { tee: string; report: string; reportData: string } = JSON.parse(
      readFileSync(file, "utf8"),
    );
    assert.deepEqual([written.tee, written.report, written.reportData.length], ["sev-snp", "0102", 128]);
    assert.ok(out.includes(written.reportData));
  });

  it("refuses wrong usage before it asks anybody", async () => {
    for (const args of [
      ["evidence", "--nonce", "xy"],
      ["evidence"],
      ["events", "--after", "-1"],
      ["nonsense"],
      ["agent", "--until", "lunch"],
      ["-o", "yaml", "status"],
    ]) {
      assert.equal((await run(...args)).exit, EXIT.USAGE, args.join(" "));
    }
  });
});

function drawn(tty: boolean): string {
  const screen = new Screen(tty);
  new Output(screen, screen).result({}, (style) => style.red("x"));
  return screen.text;
}

describe("output", () => {
  it("colours only a terminal", () => {
    assert.equal(drawn(false), "x\n");
    assert.equal(stripVTControlCharacters(drawn(true)), "x\n");
    assert.notEqual(drawn(true), "x\n");
  });

  it("has every number and byte in JSON", () => {
    const value = {
      small: 5n,
      large: 2n ** 60n,
      bytes: Buffer.from("ab", "hex"),
      gone: undefined,
      list: [1n],
    };
    assert.deepEqual(toJson(value), { small: 5, large: "1152921504606846976", bytes: "ab", list: [1] });
    assert.equal(printable("a\nb\tc\u0000"), "a b c\\u{0}");
  });

  it("has an exit code for every error, and none that says all is well", () => {
    for (const code of Object.keys(REMEDY)) assert.ok(code in EXIT_CODE);
    assert.ok(Object.values(EXIT_CODE).every((exit) => exit >= 64 && exit <= 130));
  });

  it("says sizes and times as people do", () => {
    assert.deepEqual([size(0n), size(1536), size(2n ** 40n)], ["0 B", "1.5 KiB", "1.0 TiB"]);
    assert.deepEqual(
      [duration(5), duration(1500), duration(61_000n), duration(7_260_000)],
      ["5 ms", "1.5 s", "1 min 1 s", "2 h 1 min"],
    );
  });
});
