/** The port that anybody reaches: what strangers get, and what they can hold up. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type Socket, connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SecureVersion, connect } from "node:tls";
import { Health } from "../../agent/api/health.ts";
import type { NodeView } from "../../agent/api/node-service.ts";
import { SERVED, type TlsListener, serveSocket, serveTls } from "../../agent/api/server.ts";
import { peerGroup } from "../../agent/api/tls-door.ts";
import { peerCredentials } from "../../native/peer-credentials.ts";
import { testCa } from "./test-ca.ts";

const never = (): never => assert.fail("nobody gets so far");
const view: NodeView = {
  status: never,
  disk: never,
  evidence: never,
  bootId: "",
  events: { after: () => [], subscribe: () => () => undefined },
};
const health = new Health(SERVED);

describe("TLS door", () => {
  const ca = testCa();
  const identity = () => ({
    ...ca.issue({ CN: "system:node:worker-1", O: "system:nodes" }, "serving"),
    clusterCa: ca.certificate,
  });
  const controlPlane = { CN: "kms", O: "sealet:control-plane" };
  const client = ca.issue(controlPlane, "client");
  let listener: TlsListener;
  beforeEach(async () => {
    listener = await serveTls({ host: "127.0.0.1", port: 0, identity: identity(), view, health });
  });
  afterEach(() => listener.close());

  const open = ({ privateKey: key, certificate: cert } = client, version?: SecureVersion) =>
    connect({
      host: "localhost",
      port: listener.port,
      ca: ca.certificate,
      key,
      cert,
      ...(version === undefined ? {} : { minVersion: version, maxVersion: version }),
      ALPNProtocols: ["h2"],
    });

  /** @returns what was agreed on, or the error's code */
  const handshake = async (version: SecureVersion): Promise<string> => {
    const socket = open(client, version);
    try {
      await once(socket, "secureConnect");
      return socket.getProtocol() ?? "";
    } catch (error) {
      return error instanceof Error && "code" in error ? String(error.code) : String(error);
    } finally {
      socket.destroy();
    }
  };

  it("speaks TLS 1.3 alone, with a renewed certificate too", async () => {
    for (const renew of [() => undefined, () => listener.update(identity())]) {
      renew();
      assert.equal(await handshake("TLSv1.3"), "TLSv1.3");
      assert.equal(await handshake("TLSv1.2"), "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    }
  });

  it("has nobody stay whose certificate ends, and others only then", async () => {
    const end = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000);
    const brief = open(ca.issue(controlPlane, "client", end));
    const lasting = open();
    await Promise.all([once(brief, "secureConnect"), once(lasting, "secureConnect")]);
    brief.resume();
    await once(brief, "close");
    assert.ok(Date.now() >= end.getTime());
    assert.equal(lasting.destroyed, false);
    lasting.destroy();
  });

  const silent = async (count: number): Promise<Socket[]> => {
    const sockets = Array.from({ length: count }, () => connectPlain(listener.port, "127.0.0.1"));
    for (const socket of sockets) socket.on("error", () => undefined);
    await Promise.all(sockets.map(async (socket) => once(socket, "connect")));
    return sockets;
  };

  it("has room for a peer's 16 connections, and for more once they are gone", async () => {
    const sockets = await silent(17);
    await once(sockets[16] ?? never(), "close");
    assert.equal(sockets.filter(({ destroyed }) => destroyed).length, 1);
    assert.notEqual(await handshake("TLSv1.3"), "TLSv1.3");
    for (const socket of sockets) socket.destroy();
    while ((await handshake("TLSv1.3")) !== "TLSv1.3");
  });

  it("closes with peers that never said a word", async () => {
    const [socket] = await silent(1);
    await listener.close();
    assert.ok(socket);
    if (!socket.destroyed) await once(socket, "close");
    const folder = mkdtempSync(join(tmpdir(), "sealet-door-"));
    try {
      const path = join(folder, "agent.sock");
      const local = await serveSocket({ path, view, health, peer: peerCredentials });
      const mute = connectPlain(path);
      await once(mute, "connect");
      await local.close();
      if (!mute.destroyed) await once(mute, "close");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("knows an address by what it is, not by how it is written", () => {
    assert.equal(peerGroup("10.1.2.3"), peerGroup("::ffff:10.1.2.3"));
    assert.equal(peerGroup("2001:db8:0:1::1"), peerGroup("2001:0db8:0000:0001:ffff::2"));
    assert.notEqual(peerGroup("2001:db8:0:1::1"), peerGroup("2001:db8:0:2::1"));
    for (const linkLocal of ["fe80::1%eth0", "fe80::2%eth0", "fe80::ffff:1%25", "fe80::1"])
      assert.equal(peerGroup(linkLocal), "fe80000000000000::/64");
    assert.equal(peerGroup("::ffff:10.1.2.3%eth0"), "10.1.2.3");
    assert.notEqual(peerGroup("10.1.2.3"), peerGroup("10.1.2.4"));
  });
});
