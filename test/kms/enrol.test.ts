import assert from "node:assert/strict";
import { type KeyObject, X509Certificate, generateKeyPairSync, randomBytes } from "node:crypto";
import { type AltNames, type Subject, certificateRequest } from "../../agent/crypto/certificate.ts";
import { createCa, openCa } from "../../agent/kms/enrolment-ca.ts";
import { Cluster, Machine, codeOf, never } from "./cluster.ts";

const newKey = (): KeyObject => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const kubelet = (name: string): Subject => ({ O: "system:nodes", CN: `system:node:${name}` });

function requests(name: string, names?: AltNames, key = newKey()) {
  return {
    client: certificateRequest(kubelet(name), undefined, key),
    serving: certificateRequest(kubelet(name), names ?? { dns: [name], ip: ["10.0.0.7"] }, key),
  };
}

describe("KMS enrolment", () => {
  let cluster: Cluster;
  let machine: Machine;
  beforeEach(async () => {
    cluster = await Cluster.start({ apiServers: ["https://api.example.org:6443"] });
    machine = await Machine.boot(cluster, await cluster.addNode("w1"));
  });
  afterEach(async () => {
    machine[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });
  const enrol = (asked: { client: Uint8Array; serving: Uint8Array }) =>
    machine.connection.enrol(asked, never);

  it("signs kubelet's two certificates for the node's name, and tells what it needs of the cluster", async () => {
    await cluster.addNode("w2");
    await machine.start();
    const key = newKey();
    const answer = await enrol(requests("w1", undefined, key));
    const ca = new X509Certificate(answer.clusterCa);
    const client = new X509Certificate(answer.clientCertificate);
    const serving = new X509Certificate(answer.servingCertificate);
    for (const certificate of [client, serving]) {
      assert.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
      assert.ok(certificate.checkPrivateKey(key));
      assert.equal(certificate.subject, "O=system:nodes\nCN=system:node:w1");
      assert.equal(certificate.ca, false);
    }
    assert.deepEqual(client.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
    assert.deepEqual(serving.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
    assert.equal(serving.checkIP("10.0.0.7"), "10.0.0.7");
    assert.equal(client.subjectAltName, undefined);
    assert.deepEqual(
      [answer.nodeName, answer.role, answer.apiServers, answer.podCidr],
      ["w1", "worker", ["https://api.example.org:6443"], "10.244.0.0/24"],
    );
    assert.deepEqual(JSON.parse(answer.kubeletConfiguration), {
      clusterDomain: "cluster.local",
      clusterDNS: ["10.96.0.10"],
    });
    assert.equal((await cluster.history()).at(-1), "enrol OK");
  });

  it("I2 waits for the disk: no certificates before a lease, and before its commit", async () => {
    await assert.rejects(enrol(requests("w1")), { code: "LEASE_LOST" });
    using unsealed = await machine.unseal();
    await assert.rejects(enrol(requests("w1")), { code: "RELEASE_REFUSED", predicate: "lease.committed" });
    await machine.connection.commit(unsealed.uuid, unsealed.nextEpoch, never);
    await enrol(requests("w1"));
    cluster.clock.ahead += 301_000;
    await assert.rejects(enrol(requests("w1")), { code: "LEASE_LOST" });
  });

  it("I6 signs no other name, and no name beside the node's", async () => {
    await machine.start();
    const key = newKey();
    const good = requests("w1", undefined, key);
    const serving = (names: AltNames) => ({
      ...good,
      serving: certificateRequest(kubelet("w1"), names, key),
    });
    const client = (subject: Subject) => ({ ...good, client: certificateRequest(subject, undefined, key) });
    const before = (await cluster.history()).filter((line) => line === "enrol OK").length;
    for (const [asked, predicate] of [
      [requests("w2"), "csr.subject"],
      [client({ O: "system:masters", CN: "system:node:w1" }), "csr.subject"],
      [client({ CN: "system:node:w1" }), "csr.subject"],
      [client({ O: "system:nodes", CN: "system:node:w1 " }), "csr.form"],
      [client({ O: "system:nodes", CN: "system:node:W1" }), "csr.subject"],
      [serving({ dns: ["w2"], ip: [] }), "csr.subjectAltName"],
      [serving({ dns: ["w1", "kubernetes.default"], ip: [] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["127.0.0.1"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["::1"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["224.0.0.1"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["10.0.0.7", "239.255.255.255"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["255.255.255.255"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["0.0.0.0"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["::"] }), "csr.subjectAltName"],
      [serving({ dns: ["w1"], ip: ["ff02::1"] }), "csr.subjectAltName"],
      [serving({ dns: Array.from({ length: 18 }, () => "w1"), ip: [] }), "csr.form"],
      [{ ...good, client: Buffer.alloc(0) }, "csr.form"],
      [{ ...good, client: randomBytes(300) }, "csr.form"],
      [{ ...good, client: Buffer.alloc(5000) }, "csr.form"],
      [{ ...good, client: Buffer.concat([good.client, Buffer.alloc(1)]) }, "csr.form"],
    ] as const)
      await assert.rejects(enrol(asked), { code: "ENROL_REFUSED", predicate });
    assert.equal((await cluster.history()).filter((line) => line === "enrol OK").length, before);
  });

  it("signs only for a key that its asker holds", async () => {
    await machine.start();
    const good = requests("w1");
    const other = certificateRequest(kubelet("w1"), undefined, newKey());
    // Another key's signature under this request, and one flipped bit.
    const swapped = Buffer.concat([good.client.subarray(0, -70), other.subarray(-70)]);
    const flipped = Buffer.from(good.client);
    flipped.writeUInt8(flipped.readUInt8(flipped.length - 5) ^ 1, flipped.length - 5);
    for (const client of [swapped, flipped])
      assert.equal(await codeOf(enrol({ ...good, client })), "ENROL_REFUSED");
    const p384 = certificateRequest(
      kubelet("w1"),
      undefined,
      generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
    );
    await assert.rejects(enrol({ ...good, client: p384 }), { code: "ENROL_REFUSED", predicate: "csr.form" });
  });
});

describe("Enrolment's CA", () => {
  it("never outlives itself", async () => {
    const made = await createCa("prod");
    const ca = openCa(made.certificate, made.privateKey, 100 * 365 * 86_400_000);
    const { client } = await ca.sign("w1", requests("w1"), Date.now());
    assert.equal(
      new X509Certificate(client).validToDate.getTime(),
      new X509Certificate(made.certificate).validToDate.getTime(),
    );
  });

  it("refuses a certificate that is no CA's, and another's key", async () => {
    const made = await createCa("prod");
    const other = await createCa("prod");
    assert.throws(() => openCa(made.certificate, other.privateKey, 1), { code: "CONFIG_INVALID" });
    const { createIdentity } = await import("../../agent/kms/identity.ts");
    const leaf = await createIdentity("leaf");
    assert.throws(() => openCa(leaf.certificate, leaf.privateKey, 1), { code: "CONFIG_INVALID" });
    assert.throws(() => openCa(Buffer.from("x"), Buffer.from("y"), 1), { code: "CONFIG_INVALID" });
  });
});
