import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { type AuditDraft, GENESIS, chainHash, followChain } from "../../agent/kms/audit.ts";
import { pathsOf } from "../../agent/kms/directory.ts";
import type { NodeRecord } from "../../agent/kms/record.ts";
import { SqliteStore } from "../../agent/kms/sqlite.ts";
import { Cluster, Machine, codeOf } from "./cluster.ts";

const entry = (node: string): AuditDraft => ({ action: "node", node, code: "OK", detail: { n: node } });
const record = (name: string, podNetwork: number): NodeRecord => ({
  id: "00".repeat(16),
  name,
  role: "worker",
  enrolmentSha256: "00".repeat(32),
  initdataSha256: "00".repeat(32),
  initdataSha384: "00".repeat(48),
  disk: { state: "expects-blank", uuid: "" },
  generation: 1,
  epoch: 0,
  lease: null,
  podNetwork,
  created: 0,
  lastUnseal: null,
});

describe("KMS store", () => {
  let folder: string;
  let path: string;
  let store: SqliteStore;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-store-"));
    path = join(folder, "kms.db");
    store = new SqliteStore(path, () => 1000);
  });
  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });

  const add = (name: string) =>
    store.decide(name, (state) => {
      const network = state.freePodNetwork();
      return { value: network, record: record(name, network), audit: entry(name) };
    });

  it("decides one after the other, also what waits together", async () => {
    const names = Array.from({ length: 300 }, (_, i) => `n${i}`);
    const networks = await Promise.all(names.map(add));
    assert.deepEqual(
      networks,
      names.map((_, i) => i),
    );
    assert.equal((await store.listNodes()).length, 300);
    const entries = await store.listAudit(0n, 1000);
    const head = followChain({ sequence: 0n, hash: GENESIS }, entries);
    assert.deepEqual(head, await store.auditHead());
    assert.equal(entries.length, 300);
  });

  it("gives a pod network free again when its node is removed", async () => {
    for (const name of ["a", "b", "c"]) await add(name);
    await store.decide("b", () => ({ value: undefined, record: "remove", audit: entry("b") }));
    assert.equal(await add("d"), 1);
    assert.equal(await add("e"), 3);
    await store.decide("a", () => ({ value: undefined, record: "remove", audit: entry("a") }));
    assert.equal(await add("f"), 0);
  });

  it("writes nothing of a decision that refuses, and does the others of its batch", async () => {
    const refused = store.decide("x", () => {
      throw new Error("no");
    });
    const [, added] = await Promise.allSettled([refused, add("a")]);
    await assert.rejects(refused, { message: "no" });
    assert.equal(added.status, "fulfilled");
    assert.deepEqual(
      (await store.listAudit(0n, 10)).map(({ node }) => node),
      ["a"],
    );
  });

  it("I7 answers nothing that did not become durable, and goes on with the chain from where that is", async () => {
    await add("a");
    await store.close();
    const db = new DatabaseSync(path);
    // A constraint that is looked at when a transaction is committed, and only then.
    db.exec(`CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
      CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED) STRICT;
      CREATE TRIGGER late AFTER INSERT ON audit WHEN NEW.node = 'b' BEGIN INSERT INTO child VALUES (1); END`);
    db.close();
    store = new SqliteStore(path, () => 1000);
    await assert.rejects(add("b"), { code: "AUDIT_FAILED" });
    assert.equal(await store.readNode("b"), undefined);
    await add("c");
    const entries = await store.listAudit(0n, 10);
    assert.deepEqual(
      entries.map(({ node }) => node),
      ["a", "c"],
    );
    assert.deepEqual(followChain({ sequence: 0n, hash: GENESIS }, entries), await store.auditHead());
  });

  it("writes no record that it could not read again, nor the entry of its decision", async () => {
    const put = (changes: Partial<NodeRecord>) =>
      store.decide("a", () => ({
        value: undefined,
        record: { ...record("a", 0), ...changes },
        audit: entry("a"),
      }));
    await assert.rejects(put({ epoch: -1 }), { code: "STORE_FAILED" });
    assert.deepEqual(await store.listAudit(0n, 10), []);
    await put({});
    const entries = await store.listAudit(0n, 10);
    assert.ok(!("broken" in followChain({ sequence: 0n, hash: GENESIS }, entries)));
  });

  it("I5 puts no policy in force twice, nor an older one", async () => {
    const put = (version: bigint) =>
      store.replacePolicy({ version, envelope: Buffer.from(String(version)) }, entry("p"));
    assert.deepEqual(
      [await put(2n), await put(2n), await put(1n), await put(3n)],
      [true, false, false, true],
    );
    assert.equal((await store.readPolicy())?.version, 3n);
    assert.equal((await store.listAudit(0n, 10)).length, 2);
  });

  it("finds the node of a key by its latest lease", async () => {
    const holder = "ab".repeat(32);
    for (const [name, expires] of [
      ["a", 10],
      ["b", 30],
      ["c", 20],
    ] as const) {
      const lease = { id: "00".repeat(16), holder, expires, committed: false };
      await store.decide(name, (state) => ({
        value: undefined,
        record: { ...record(name, state.freePodNetwork()), lease },
        audit: entry(name),
      }));
    }
    assert.equal((await store.readHeldBy(holder))?.name, "b");
  });

  it("goes on with the chain when it is opened again", async () => {
    await add("a");
    await store.close();
    store = new SqliteStore(path, () => 2000);
    await add("b");
    const entries = await store.listAudit(0n, 10);
    assert.ok(!("broken" in followChain({ sequence: 0n, hash: GENESIS }, entries)));
    assert.deepEqual(
      entries.map(({ timeUnixMs }) => timeUnixMs),
      [1000n, 2000n],
    );
  });

  it("is one KMS's at a time", () => {
    assert.throws(() => new SqliteStore(path, () => 0), { code: "STORE_FAILED", message: /another KMS/ });
  });

  it("a damaged record fails alone, with its code", async () => {
    await add("a");
    await add("b");
    await store.close();
    const db = new DatabaseSync(path);
    db.exec(`UPDATE node SET record = replace(record, '"epoch":0', '"epoch":-1') WHERE name = 'a'`);
    db.close();
    store = new SqliteStore(path, () => 0);
    const touch = (name: string) => store.decide(name, () => ({ value: name, audit: entry(name) }));
    const [a, b] = await Promise.allSettled([touch("a"), touch("b")]);
    assert.ok(a.status === "rejected" && String(a.reason).includes(".epoch"));
    assert.equal(b.status, "fulfilled");
    await assert.rejects(store.readNode("a"), { code: "STORE_FAILED" });
  });

  it("refuses a file that is no database", () => {
    const other = join(folder, "other.db");
    writeFileSync(other, "x".repeat(8192));
    assert.throws(() => new SqliteStore(other, () => 0), { code: "STORE_FAILED" });
  });
});

describe("KMS audit chain", () => {
  it("I7 is broken by a change of any one field of any entry, and by its place", () => {
    const genesis = { sequence: 0n, hash: GENESIS };
    const first = { sequence: 1n, timeUnixMs: 1n, action: "release", node: "w1", code: "OK", detail: "{}" };
    const one = { ...first, hash: chainHash(GENESIS, first) };
    const second = { ...first, sequence: 2n, timeUnixMs: 2n };
    const two = { ...second, hash: chainHash(one.hash, second) };
    assert.deepEqual(followChain(genesis, [one, two]), { sequence: 2n, hash: two.hash });
    for (const change of [
      { timeUnixMs: 3n },
      { action: "commit" },
      { node: "w2" },
      { code: "LEASE_LOST" },
      { detail: "{ }" },
      { sequence: 9n },
      { hash: Buffer.alloc(32) },
      // The same text, cut elsewhere.
      { action: "releasew", node: "1" },
    ]) {
      assert.deepEqual(followChain(genesis, [{ ...one, ...change }, two]), { broken: 1n });
      assert.deepEqual(followChain(genesis, [one, { ...two, ...change }]), { broken: 2n });
    }
    assert.deepEqual(followChain(genesis, [two]), { broken: 1n });
    const skipped = { ...second, sequence: 3n };
    const three = { ...skipped, hash: chainHash(one.hash, skipped) };
    assert.deepEqual(followChain(genesis, [one, three]), { broken: 2n });
  });
});

describe("KMS whose audit log cannot be written", () => {
  it("I7 answers nothing and changes nothing, and serves again when it can", async () => {
    await using cluster = await Cluster.start();
    const initdata = await cluster.addNode("w1");
    await cluster.kms.close();
    const db = new DatabaseSync(pathsOf(cluster.directory).database);
    const full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    db.exec(full);
    db.close();
    await cluster.open();
    using machine = await Machine.boot(cluster, initdata);
    assert.equal(await codeOf(machine.unseal()), "AUDIT_FAILED");
    machine.disk = { ...machine.disk, state: "foreign" };
    assert.equal(await codeOf(machine.unseal()), "AUDIT_FAILED");
    const remove = withOperator(cluster.kms.socket, (ask) => ask(METHOD.removeNode, { name: "nobody" }));
    assert.equal(await codeOf(remove), "AUDIT_FAILED");
    assert.equal((await cluster.record("w1")).diskState, "expects-blank");
    assert.equal((await cluster.record("w1")).lease, undefined);
    assert.deepEqual(
      cluster.defects.map(String),
      Array<string>(3).fill("SealetError: The audit log cannot be written"),
    );
    await cluster.kms.close();
    const again = new DatabaseSync(pathsOf(cluster.directory).database);
    again.exec("DROP TRIGGER full");
    again.close();
    await cluster.open();
    using next = await Machine.boot(cluster, initdata);
    await next.start();
    assert.deepEqual((await cluster.history()).slice(-2), ["release OK", "commit OK"]);
  });
});
