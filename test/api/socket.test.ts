/** The node's API on its unix socket. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ChannelCredentials, type Client, credentials, status } from "@grpc/grpc-js";
import { type HealthCheckResponse, HealthClient } from "../../agent/api/gen/health.ts";
import { ServerReflectionClient, type ServerReflectionResponse } from "../../agent/api/gen/reflection.ts";
import { type Disk, type Event, type Evidence, NodeClient } from "../../agent/api/gen/sealet.ts";
import { Health } from "../../agent/api/health.ts";
import { type Listener, SERVED, serveSocket } from "../../agent/api/server.ts";
import type { SealetError } from "../../agent/error.ts";
import { peerCredentials } from "../../native/peer-credentials.ts";
import { View, ask, getStatus } from "./view.ts";

const note = (message: string) => ({ phase: "agent", kind: "note", message }) as const;
const getEvidence = (client: NodeClient, nonce: Buffer) =>
  ask<Evidence>((done) => client.getEvidence({ nonce }, done));
const check = (client: HealthClient, service: string) =>
  ask<HealthCheckResponse>((done) => client.check({ service }, done));

/** @throws where it does not come true within two seconds */
async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 2000;
  while (!condition()) {
    assert.ok(performance.now() < end, "it did not come true");
    await delay(5);
  }
}

describe("API on the unix socket", () => {
  let folder: string;
  let path: string;
  let view: View;
  let health: Health;
  let listener: Listener;
  let clients: Client[];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sealet-api-"));
    path = join(folder, "agent.sock");
    view = new View();
    health = new Health(SERVED);
    clients = [];
    listener = await serveSocket({ path, view, health, peer: peerCredentials });
  });
  afterEach(async () => {
    for (const client of clients) client.close();
    await listener.close();
    rmSync(folder, { recursive: true });
  });
  const connect = <T extends Client>(
    Service: new (address: string, credentials: ChannelCredentials) => T,
  ): T => {
    const client = new Service(`unix:${path}`, credentials.createInsecure());
    clients.push(client);
    return client;
  };

  it("is root's alone, by mode and by the kernel's word", async () => {
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await listener.close();
    const refused: SealetError[] = [];
    const onRefused = (error: SealetError) => refused.push(error);
    listener = await serveSocket({ path, view, health, peer: () => ({ uid: 1000 }), onRefused });
    const client = connect(NodeClient);
    await assert.rejects(getStatus(client), { code: "NOT_SERVING" });
    assert.equal(refused[0]?.code, "PERMISSION_DENIED");
  });

  it("is nobody's where the kernel does not say who connected", async () => {
    await listener.close();
    listener = await serveSocket({ path, view, health, peer: () => assert.fail("getsockopt failed") });
    await assert.rejects(getStatus(connect(NodeClient)), { code: "NOT_SERVING" });
  });

  it("leaves the process's umask as it was", async () => {
    const before = process.umask(0o027);
    try {
      await listener.close();
      listener = await serveSocket({ path, view, health, peer: peerCredentials });
      assert.equal(process.umask(), 0o027);
      assert.equal(statSync(path).mode & 0o777, 0o600);
    } finally {
      process.umask(before);
    }
  });

  it("calls evidence off for a caller that went away", async () => {
    view.slow = true;
    const call = connect(NodeClient).getEvidence({ nonce: Buffer.alloc(1) }, () => undefined);
    await until(() => view.signal !== undefined);
    call.cancel();
    await until(() => view.signal?.aborted === true);
  });

  it("answers over a socket file that a killed agent left behind", async () => {
    const second = await serveSocket({ path, view, health, peer: peerCredentials });
    const client = connect(NodeClient);
    assert.equal((await getStatus(client)).state, "booting");
    await second.close();
  });

  it("carries errors whole", async () => {
    const client = connect(NodeClient);
    await assert.rejects(
      ask<Disk>((done) => client.getDisk({}, done)),
      {
        code: "DISK_MISSING",
        message: "No disk",
        expected: "serial state",
        found: "none",
      },
    );
  });

  it("asks for evidence over a nonce of 1 to 64 bytes, and no other", async () => {
    const client = connect(NodeClient);
    for (const length of [0, 65, 4096]) {
      await assert.rejects(getEvidence(client, Buffer.alloc(length)), {
        code: "REQUEST_INVALID",
      });
    }
    assert.deepEqual(view.asked, []);
    const { report } = await getEvidence(client, Buffer.alloc(64, 7));
    assert.equal(report.toString(), "report");
  });

  it("gives events after a number, then follows, and forgets a reader that left", async () => {
    for (const message of ["one", "two", "three"]) view.events.append(note(message));
    const client = connect(NodeClient);
    const seen: string[] = [];
    const stream = client.watchEvents({ afterSequence: 1n, follow: true, bootId: "" });
    const four = new Promise<void>((resolve) => {
      stream.on("data", (event: Event) => {
        seen.push(`${event.sequence} ${event.message}`);
        if (seen.length === 2) view.events.append(note("four"));
        if (seen.length === 3) resolve();
      });
    });
    stream.on("error", () => undefined);
    await four;
    assert.deepEqual(seen, ["2 two", "3 three", "4 four"]);
    assert.equal(view.events.readers.size, 1);
    stream.cancel();
    await until(() => view.events.readers.size === 0);
  });

  it("keeps nothing for a reader that does not read, and goes on where that one is", async () => {
    const message = "x".repeat(20_000);
    const sent = new Set<number>();
    const { events } = view;
    const after = events.after.bind(events);
    events.after = (last) =>
      after(last).map((event) => ({
        ...event,
        get message() {
          sent.add(event.sequence);
          return event.message;
        },
      }));
    for (let i = 0; i < 900; i++) events.append(note(message));
    const client = connect(NodeClient);
    const stream = client.watchEvents({ afterSequence: 0n, follow: true, bootId: "" });
    stream.on("error", () => undefined);
    await once(stream, "readable");
    for (let i = 0; i < 20; i++) {
      events.append(note(message));
      await delay(10);
    }
    assert.ok(sent.size < 500, String(sent.size));
    const seen: bigint[] = [];
    for await (const { sequence } of stream) {
      seen.push(sequence);
      if (seen.length === 920) break;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 920 }, (_, index) => BigInt(index + 1)),
    );
  });

  it("answers as many reflections as are asked", async () => {
    const client = connect(ServerReflectionClient);
    const stream = client.serverReflectionInfo();
    for (let i = 0; i < 100; i++) stream.write({ host: "", fileContainingSymbol: "sealet.v1.Node" });
    stream.end();
    assert.equal((await stream.toArray()).length, 100);
  });

  it("begins anew for a reader that saw an earlier boot", async () => {
    for (const message of ["one", "two"]) view.events.append(note(message));
    const client = connect(NodeClient);
    const after = async (bootId: string) => {
      const events: Event[] = await client
        .watchEvents({ afterSequence: 1n, follow: false, bootId })
        .toArray();
      return events.map(({ message, bootId: of }) => `${message} of ${of}`);
    };
    assert.deepEqual(await after("boot-1"), ["one of boot-2", "two of boot-2"]);
    assert.deepEqual(await after("boot-2"), ["two of boot-2"]);
  });

  it("ends a list of events that nobody follows", async () => {
    view.events.append(note("one"));
    const client = connect(NodeClient);
    const stream = client.watchEvents({ afterSequence: 0n, follow: false, bootId: "" });
    const events: Event[] = await stream.toArray();
    assert.equal(events.length, 1);
  });

  it("tells health: not serving, until it does", async () => {
    const client = connect(HealthClient);
    assert.equal((await check(client, "")).status, 2);
    health.setServing(true);
    assert.equal((await check(client, "sealet.v1.Node")).status, 1);
    await assert.rejects(check(client, "sealet.v1.Kms"));
  });

  it("tells who watches its health of each change", async () => {
    const stream = connect(HealthClient).watch({ service: "" });
    stream.on("error", () => undefined);
    const seen: number[] = [];
    stream.on("data", ({ status: told }: HealthCheckResponse) => seen.push(told));
    for (const [serving, count] of [
      [false, 1],
      [true, 2],
      [true, 2],
      [false, 3],
    ] as const) {
      health.setServing(serving);
      await until(() => seen.length === count);
    }
    assert.deepEqual(seen, [2, 1, 2]);
    stream.cancel();
  });

  it("tells its services and their descriptors", async () => {
    const client = connect(ServerReflectionClient);
    const stream = client.serverReflectionInfo();
    const request = { host: "h" };
    stream.write({ ...request, listServices: "" });
    stream.write({ ...request, fileContainingSymbol: "sealet.v1.Node" });
    stream.write({ ...request, fileContainingSymbol: "sealet.v1.Nobody" });
    stream.end();
    const answers: ServerReflectionResponse[] = await stream.toArray();
    assert.deepEqual(
      answers[0]?.listServicesResponse?.service.map(({ name }) => name),
      [...SERVED],
    );
    assert.ok(answers[1]?.fileDescriptorResponse?.fileDescriptorProto[0]?.includes("sealet.proto"));
    assert.equal(answers[2]?.errorResponse?.errorCode, status.NOT_FOUND);
  });
});
