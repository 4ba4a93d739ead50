/** What strangers write does not fill the audit log, and however long it is, it can be read. */
import assert from "node:assert/strict";
import { pathsOf } from "../../agent/kms/directory.ts";
import { SealetError } from "../../agent/error.ts";
import { Recorder } from "../../agent/kms/recorder.ts";
import { SqliteStore } from "../../agent/kms/sqlite.ts";
import { run } from "../cli/run.ts";
import { Target } from "./attacker.ts";
import { Cluster, codeOf } from "./cluster.ts";

const MOST = 8 * 1024;

const signatures = (keyid: string) => Array.from({ length: 16 }, () => ({ keyid, sig: "" }));

describe("KMS audit log, its size", () => {
  it("a refusal of a hostile enrolment is an entry below 8 KiB", async () => {
    await using target = await Target.create();
    // A control character is six in JSON.
    const long = "\u0001".repeat(2300);
    for (const enrolment of [
      { payload: "", payloadType: "", signatures: [], [long]: 1 },
      { payload: "", payloadType: "x".repeat(14_000), signatures: signatures("") },
      {
        payload: "",
        payloadType: "application/vnd.sealet.enrolment+json",
        signatures: signatures("k".repeat(800)),
      },
      {
        payload: "",
        payloadType: "application/vnd.sealet.enrolment+json",
        signatures: signatures(long.slice(0, 140)),
      },
    ]) {
      const forged = await target.forge({ body: { enrolment: Buffer.from(JSON.stringify(enrolment)) } });
      assert.equal(await codeOf(target.attacker.unseal(forged)), "ENROLMENT_INVALID");
    }
    const refusals = (await target.cluster.audit()).filter(({ action }) => action === "refusal");
    assert.equal(refusals.length, 4);
    for (const { detail } of refusals) assert.ok(Buffer.byteLength(detail) < MOST, detail);
  });

  it("of a refusal's words the entry holds 1024 characters each", async () => {
    const store = new SqliteStore(":memory:", () => 0);
    const recorder = new Recorder(store, 10, () => 0);
    const words = "w".repeat(100_000);
    const peer = { spki: Buffer.alloc(0), holder: "h", address: "a", group: "g" };
    const refused = recorder.answer("unseal", peer, () =>
      Promise.reject(new SealetError("REQUEST_INVALID", words, { expected: words, found: words })),
    );
    // The caller's answer is cut where it is put on the wire.
    await assert.rejects(refused, { message: words });
    const [entry] = await store.listAudit(0n, 1);
    const cut = "w".repeat(1024);
    const detail: unknown = JSON.parse(entry?.detail ?? "");
    assert.deepEqual(detail, {
      request: "unseal",
      peer: "a",
      holder: "h",
      message: cut,
      expected: cut,
      found: cut,
    });
    await store.close();
  });

  it("1000 entries of 60 KiB are listed and followed, page by page", async () => {
    await using cluster = await Cluster.start();
    await cluster.kms.close();
    const store = new SqliteStore(pathsOf(cluster.directory).database, () => 0);
    const detail = { request: "x", words: "w".repeat(60 * 1024) };
    const add = () => store.audit({ action: "refusal", node: "", code: "REQUEST_INVALID", detail });
    await Promise.all(Array.from({ length: 1000 }, add));
    const huge = { ...detail, words: "w".repeat(2 * 1024 * 1024) };
    await store.audit({ action: "refusal", node: "", code: "REQUEST_INVALID", detail: huge });
    const end = await store.auditHead();
    await store.close();
    await cluster.open();
    const { exit, out } = await run("audit", "verify", "--socket", cluster.kms.socket, "-o", "json");
    assert.equal(exit, 0);
    // The KMS knew its collateral already: its start is no entry.
    const result: Partial<Record<string, unknown>> = Object(JSON.parse(out));
    assert.deepEqual([result["entries"], result["head"]], [Number(end.sequence), end.hash.toString("hex")]);
  });
});
