/** Between node and KMS: what the wire does to a call is nobody's answer, so another endpoint is asked and nothing locks. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { constants, createSecureServer } from "node:http2";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import { systemClock } from "../../agent/boot/clock.ts";
import { Journal } from "../../agent/boot/journal.ts";
import { LeaseKeeper } from "../../agent/boot/lease.ts";
import { openDirectory } from "../../agent/kms/directory.ts";
import { TLS_OPTIONS } from "../../agent/kms/channel.ts";
import { KmsConnection } from "../../agent/kms/client.ts";
import { Cluster, Machine, never } from "./cluster.ts";

type Damage = (bytes: Buffer) => Uint8Array;

const flipLastBit: Damage = (bytes) => bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1);

describe("KMS over a wire that breaks", () => {
  let cluster: Cluster;
  let machine: Machine;
  let leaseId: string;
  before(async () => {
    cluster = await Cluster.start();
    machine = await Machine.boot(cluster, await cluster.addNode("w1"));
    ({ leaseId } = await machine.start());
  });
  after(async () => {
    machine[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  const connectionTo = (...endpoints: string[]) => new KmsConnection({ ...machine.options, endpoints });

  const DAMAGES: readonly (readonly [string, Damage])[] = [
    ["a corrupt TLS record", flipLastBit],
    ["bytes that are no TLS", () => Buffer.from("HTTP/1.1 502 Bad Gateway\r\n\r\n")],
    ["a record of another length", (bytes) => bytes.subarray(0, -7)],
  ];
  for (const [what, damage] of DAMAGES)
    it(`${what} is KMS_UNREACHABLE, and the next endpoint is asked`, async () => {
      await using wire = await Wire.to(cluster.kms.address);
      using alone = connectionTo(wire.address);
      await alone.renew(leaseId, never);
      wire.damageOnce = damage;
      await assert.rejects(alone.renew(leaseId, never), { code: "KMS_UNREACHABLE" });
      await alone.renew(leaseId, never);
      using two = connectionTo(wire.address, cluster.kms.address);
      await two.renew(leaseId, never);
      wire.damageOnce = damage;
      await two.renew(leaseId, never);
      assert.equal(wire.damageOnce, undefined);
    });

  for (const name of ["NGHTTP2_CANCEL", "NGHTTP2_INTERNAL_ERROR", "NGHTTP2_NO_ERROR"] as const)
    it(`a stream that is reset with ${name} is KMS_UNREACHABLE, and the next endpoint is asked`, async () => {
      // The KMS's own key, so that it is believed.
      const { tls, rootKey } = openDirectory(cluster.directory);
      rootKey[Symbol.dispose]();
      const server = createSecureServer({ ...TLS_OPTIONS, key: tls.privateKey, cert: tls.certificate });
      let resets = 0;
      server.on("stream", (stream) => {
        resets++;
        stream.on("error", () => undefined);
        stream.close(constants[name]);
      });
      const address = await listen(server);
      using alone = connectionTo(address);
      await assert.rejects(alone.renew(leaseId, never), { code: "KMS_UNREACHABLE" });
      using two = connectionTo(address, cluster.kms.address);
      await two.renew(leaseId, never);
      assert.equal(resets, 2);
      server.close();
    });

  it("a renewal that breaks once is repeated: the node is never locked", async () => {
    await using wire = await Wire.to(cluster.kms.address);
    using connection = connectionTo(wire.address);
    await connection.renew(leaseId, never);
    wire.damageOnce = flipLastBit;
    const journal = new Journal(systemClock);
    const lost: unknown[] = [];
    const renewed = await new Promise((resolve) => {
      const keeper = new LeaseKeeper({
        clock: systemClock,
        journal,
        renew: async (id, signal) => {
          const lease = await connection.renew(id, signal);
          return { ...lease, remainingMs: lease.durationMs };
        },
        onRenewed: (lease) => {
          keeper.stop();
          resolve(lease.id);
        },
        onLost: (error) => {
          lost.push(error);
          resolve(undefined);
        },
      });
      // More than half of its life is over: it is renewed at once.
      const rest = { durationMs: 60_000, heldUntil: systemClock.monotonic() + 10_000 };
      keeper.hold({ id: leaseId, ...rest });
    });
    assert.deepEqual([renewed, lost], [leaseId, []]);
    assert.deepEqual(
      journal.after(0).map(({ kind, code }) => [kind, code]),
      [
        ["retried", "KMS_UNREACHABLE"],
        ["done", undefined],
      ],
    );
  });
});

/** Carries bytes both ways, and damages what the KMS says next where it is told to. */
class Wire implements AsyncDisposable {
  readonly address: string;
  damageOnce: Damage | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, address: string) {
    this.#server = server;
    this.address = address;
  }

  static async to(target: string): Promise<Wire> {
    const server = createServer();
    const wire = new Wire(server, await listen(server));
    const [host, port] = target.split(":");
    server.on("connection", (near) => wire.#join(near, connect({ host: host ?? "", port: Number(port) })));
    return wire;
  }

  #join(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => other.destroy());
    }
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes: Buffer) => {
      const damage = this.damageOnce;
      this.damageOnce = undefined;
      near.write(damage?.(bytes) ?? bytes);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

async function listen(server: Pick<Server, "listen" | "address">): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port }: Partial<AddressInfo> = Object(server.address());
  return `127.0.0.1:${port}`;
}
