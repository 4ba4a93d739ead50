/** The node's API over TLS, under a CA made here. */
import assert from "node:assert/strict";
import { type Client, ChannelCredentials, status } from "@grpc/grpc-js";
import { NodeClient } from "../../agent/api/gen/sealet.ts";
import { Health } from "../../agent/api/health.ts";
import { type Listener, SERVED, serveTls } from "../../agent/api/server.ts";
import { type TestCa, testCa } from "./test-ca.ts";
import { View, getStatus } from "./view.ts";

describe("API over TLS", () => {
  const health = new Health(SERVED);
  let ca: TestCa;
  let listener: Listener & { port: number };
  let clients: Client[] = [];
  before(async () => {
    ca = testCa();
    const identity = {
      ...ca.issue({ CN: "system:node:worker-1", O: "system:nodes" }, "serving"),
      clusterCa: ca.certificate,
    };
    listener = await serveTls({ host: "127.0.0.1", port: 0, identity, view: new View(), health });
  });
  afterEach(() => {
    for (const client of clients) client.close();
    clients = [];
  });
  after(() => listener.close());
  const connect = (channel: ChannelCredentials): NodeClient => {
    const client = new NodeClient(`localhost:${listener.port}`, channel);
    clients.push(client);
    return client;
  };
  const withCertificate = (issuer: TestCa, subject: { CN: string; O?: string }) => {
    const { privateKey, certificate } = issuer.issue(subject, "client");
    return connect(ChannelCredentials.createSsl(ca.certificate, privateKey, certificate));
  };

  it("answers the control plane", async () => {
    const client = withCertificate(ca, { CN: "kms", O: "sealet:control-plane" });
    assert.equal((await getStatus(client)).state, "booting");
  });

  it("refuses a node, a person, and a name without its organisation", async () => {
    for (const subject of [
      { CN: "system:node:worker-2", O: "system:nodes" },
      { CN: "sealet:control-plane" },
    ]) {
      const client = withCertificate(ca, subject);
      await assert.rejects(getStatus(client), { code: "PERMISSION_DENIED" });
      await assert.rejects(client.watchEvents({ afterSequence: 0n, follow: true, bootId: "" }).toArray(), {
        code: status.PERMISSION_DENIED,
      });
    }
  });

  it("does not get past the handshake with another CA's certificate, or with none", async () => {
    const stranger = withCertificate(testCa(), { CN: "kms", O: "sealet:control-plane" });
    await assert.rejects(getStatus(stranger), { code: "NOT_SERVING" });
    const nobody = connect(ChannelCredentials.createSsl(ca.certificate));
    await assert.rejects(getStatus(nobody), { code: "NOT_SERVING" });
    const plain = connect(ChannelCredentials.createInsecure());
    await assert.rejects(getStatus(plain), { code: "NOT_SERVING" });
  });
});
