/** The node's side, and the doors: what is not the pinned KMS, not TLS 1.3 with X25519MLKEM768, not a node's key. */
import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";
import { Client } from "@grpc/grpc-js";
import { KmsService } from "../../agent/api/gen/sealet.ts";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { encodeName, issueCertificate } from "../../agent/crypto/certificate.ts";
import { pem } from "../../agent/crypto/pem.ts";
import { call } from "../../agent/kms/call.ts";
import { PinnedCredentials, TLS_OPTIONS } from "../../agent/kms/channel.ts";
import { KmsConnection, type KmsConnectionOptions } from "../../agent/kms/client.ts";
import { type TlsIdentity, createIdentity } from "../../agent/kms/identity.ts";
import { Attacker } from "./attacker.ts";
import { Cluster, Machine, blank, codeOf, never, twinEvidence } from "./cluster.ts";

describe("KMS connection", () => {
  let cluster: Cluster;
  let initdata: Buffer;
  let machine: Machine;
  before(async () => {
    cluster = await Cluster.start();
    initdata = await cluster.addNode("w1");
    machine = await Machine.boot(cluster, initdata);
  });
  after(async () => {
    machine[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  });

  const options = (changes: Partial<KmsConnectionOptions>): KmsConnectionOptions => ({
    ...machine.options,
    ...changes,
  });
  const unseal = (connection: KmsConnection, signal: AbortSignal = never) =>
    connection.unseal({ enrolment: machine.initdata.enrolment, disk: blank() }, signal);

  it("goes on to the next endpoint where nobody answers, and stays with the one that did", async () => {
    const mute = await silent();
    using connection = new KmsConnection(
      options({ endpoints: ["127.0.0.1:1", mute.address, cluster.kms.address], callTimeoutMs: 3000 }),
    );
    using unsealed = await unseal(connection);
    assert.equal(unsealed.format, true);
    assert.equal(mute.connections, 1);
    await connection.renew(unsealed.lease.id, never);
    assert.equal(mute.connections, 1);
    mute.close();
  });

  it("says which endpoints it asked, and why none would do", async () => {
    using connection = new KmsConnection(options({ endpoints: ["127.0.0.1:1", "nowhere.invalid:7443"] }));
    await assert.rejects(unseal(connection), {
      code: "KMS_UNREACHABLE",
      message: /127\.0\.0\.1:1: .*; nowhere\.invalid:7443: /,
    });
  });

  it("I1 says nothing to a KMS whose key is not the pinned one", async () => {
    let asked = 0;
    const evidence = () => {
      asked++;
      return Promise.reject(new Error("never"));
    };
    const spkiSha256 = randomBytes(32);
    using connection = new KmsConnection(options({ spkiSha256, evidence }));
    await assert.rejects(unseal(connection), {
      code: "KMS_UNTRUSTED",
      expected: spkiSha256.toString("hex"),
      found: cluster.kms.spkiSha256.toString("hex"),
    });
    assert.equal(asked, 0);
  });

  it("ends at once when it is told to, while it waits for the KMS and for the TEE", async () => {
    const mute = await silent();
    for (const changes of [
      { endpoints: [mute.address], callTimeoutMs: 60_000 },
      { evidence: (_: Buffer, signal: AbortSignal) => aborted(signal) },
    ]) {
      using connection = new KmsConnection(options(changes));
      const abort = new AbortController();
      setTimeout(() => abort.abort(), 50);
      await assert.rejects(unseal(connection, abort.signal), { code: "CANCELLED" });
    }
    mute.close();
  });

  it("hands the evidence source's own error on", async () => {
    const { SealetError } = await import("../../agent/error.ts");
    const broken = new SealetError("EVIDENCE_CHANNEL_LOST", "gone");
    using connection = new KmsConnection(options({ evidence: () => Promise.reject(broken) }));
    await assert.rejects(unseal(connection), broken);
  });

  it("asks once more where the nonce ran out meanwhile", async () => {
    let slow = true;
    const evidence = twinEvidence(initdata);
    using connection = new KmsConnection(
      options({
        evidence: (bound, signal) => {
          if (slow) cluster.clock.ahead += 121_000;
          slow = false;
          return evidence(bound, signal);
        },
      }),
    );
    using unsealed = await unseal(connection);
    assert.equal(unsealed.diskKey.length, 32);
  });

  it("refuses a configuration that names no KMS or no pin", () => {
    assert.throws(() => new KmsConnection(options({ endpoints: [] })), { code: "CONFIG_INVALID" });
    assert.throws(() => new KmsConnection(options({ spkiSha256: Buffer.alloc(31) })), {
      code: "CONFIG_INVALID",
    });
  });
});

describe("KMS doors", () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await Cluster.start({
      limits: { noncesPerPeer: 4, nonces: 8, refusalsPerMinute: 6, appraisals: 2, connections: 100 },
    });
  });
  after(() => cluster[Symbol.asyncDispose]());

  const challenge = (
    identity: TlsIdentity,
    request = { versions: [1], tee: "x", nonce: randomBytes(32) },
  ) => {
    const client = new Client(cluster.kms.address, new PinnedCredentials(identity, cluster.kms.spkiSha256));
    const limits = { timeoutMs: 2000, unreachable: "KMS_UNREACHABLE" } as const;
    return call(client, KmsService.challenge, request, limits).finally(() => client.close());
  };

  /** @returns the handshake's error, or what was negotiated */
  function handshake(changes: ConnectionOptions): Promise<string> {
    const [host, port] = cluster.kms.address.split(":");
    return new Promise((resolve) => {
      const socket = connect({ host: host ?? "", port: Number(port), rejectUnauthorized: false, ...changes });
      socket.on("error", ({ message }) => resolve(message));
      socket.on("secureConnect", () => {
        resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
        socket.destroy();
      });
    });
  }

  it("TLS 1.3 with X25519MLKEM768, and nothing else", async () => {
    assert.match(await handshake(TLS_OPTIONS), /^TLSv1\.3 /);
    assert.match(
      await handshake({ ...TLS_OPTIONS, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }),
      /alert|unsupported/i,
    );
    for (const ecdhCurve of ["X25519", "P-256", "SecP256r1MLKEM768"])
      assert.match(await handshake({ ...TLS_OPTIONS, ecdhCurve }), /handshake failure/i);
  });

  it("no certificate, or another kind of key: no service", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const subject = { CN: "node" };
    const certificate = issueCertificate(
      {
        subject,
        spki: publicKey.export({ type: "spki", format: "der" }),
        notBefore: new Date(0),
        notAfter: new Date("2099-01-01"),
        as: { kind: "self-signed" },
      },
      { name: encodeName(subject), key: privateKey },
    );
    const p384 = {
      privateKey: pem("PRIVATE KEY", privateKey.export({ type: "pkcs8", format: "der" })),
      certificate: pem("CERTIFICATE", certificate),
    };
    assert.equal(await codeOf(challenge(p384)), "UNAUTHENTICATED");
    const none = { privateKey: Buffer.alloc(0), certificate: Buffer.alloc(0) };
    const without = Object.assign({ ...none }, { privateKey: undefined, certificate: undefined });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a client without a key is what is tried
    assert.equal(await codeOf(challenge(without as unknown as TlsIdentity)), "KMS_UNREACHABLE");
  });

  it("bounds the challenges of one peer and of all", async () => {
    const identity = await createIdentity("node");
    for (let i = 0; i < 4; i++) await challenge(identity);
    assert.equal(await codeOf(challenge(identity)), "KMS_BUSY");
    assert.equal(await codeOf(challenge(await createIdentity("same address"))), "KMS_BUSY");
    cluster.clock.ahead += 121_000;
    await challenge(identity);
  });

  it("refuses what is malformed, and holds back who keeps sending it", async () => {
    cluster.clock.ahead += 121_000;
    using attacker = await Attacker.of(cluster);
    const empty = Buffer.alloc(0);
    const evidence = { tee: "sev-snp", report: empty, auxiliary: empty, eventLog: empty };
    const big = (field: object) => ({ body: empty, evidence: { ...evidence, ...field } });
    const before = (await cluster.audit()).length;
    for (const [request, predicate] of [
      [{ body: empty, evidence: undefined }, "evidence"],
      [{ body: Buffer.from([0xff, 0xff, 0xff]), evidence }, "body"],
      [{ body: empty, evidence }, "nonce"],
      [{ ...big({}), body: Buffer.alloc(16_385) }, "body"],
      [big({ report: Buffer.alloc(16_385) }), "evidence.report"],
      [big({ auxiliary: Buffer.alloc(65_537) }), "evidence.auxiliary"],
    ] as const)
      await assert.rejects(attacker.unseal(request), { code: "REQUEST_INVALID", predicate });
    assert.equal((await cluster.audit()).length, before + 6);
    // Its share is used up: nothing is looked at or written any more, until the minute is over.
    await assert.rejects(attacker.unseal({ body: empty, evidence }), { code: "KMS_BUSY" });
    assert.equal((await cluster.audit()).length, before + 6);
    cluster.clock.ahead += 61_000;
    await assert.rejects(attacker.unseal({ body: empty, evidence }), { code: "REQUEST_INVALID" });
    // Over gRPC's own limit nothing of it is read; asking again would not make it shorter.
    assert.equal(await codeOf(attacker.unseal(big({ report: Buffer.alloc(300_000) }))), "REQUEST_INVALID");
    await assert.rejects(
      challenge(attacker.identity, { versions: [2, 3], tee: "x", nonce: randomBytes(32) }),
      {
        code: "PROTOCOL_VERSION",
        expected: "1",
        found: "2, 3",
      },
    );
    await assert.rejects(challenge(attacker.identity, { versions: [1], tee: "x", nonce: randomBytes(31) }), {
      code: "REQUEST_INVALID",
    });
  });

  it("operators' socket is root's alone, and left over ones are replaced", async () => {
    assert.equal(statSync(cluster.kms.socket).mode & 0o777, 0o600);
    assert.equal(statSync(cluster.directory).mode & 0o777, 0o700);
    const { name } = await withOperator(cluster.kms.socket, (ask) => ask(METHOD.getCluster, {}));
    assert.equal(name, "prod");
    await assert.rejects(
      withOperator(`${cluster.kms.socket}.not`, (ask) => ask(METHOD.getCluster, {})),
      { code: "KMS_UNREACHABLE" },
    );
  });
});

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("aborted")));
  });
}

/** Accepts connections and says nothing. */
async function silent() {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.unref();
  });
  server.unref();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port }: Partial<AddressInfo> = Object(server.address());
  return {
    address: `127.0.0.1:${port}`,
    get connections() {
      return connections;
    },
    close: () => void server.close(),
  };
}
