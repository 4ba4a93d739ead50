/** Operators' commands against a real KMS: from the first key to the audit log. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { stripVTControlCharacters } from "node:util";
import { EXIT } from "../../agent/cli/exit.ts";
import { unframeInitdata } from "../../agent/config/initdata-disk.ts";
import { initdataDigests, parseInitdata } from "../../agent/config/initdata.ts";
import { attestVerifier } from "../../agent/kms/attest-verifier.ts";
import { pathsOf } from "../../agent/kms/directory.ts";
import { type Kms, startKms } from "../../agent/kms/server.ts";
import { freePort } from "../cluster/process.ts";
import { Machine, codeOf, policyVersion, twinCa } from "../kms/cluster.ts";
import { type Ran, run } from "./run.ts";

interface JsonRan extends Ran {
  /** Of `-o json`. */
  readonly json: unknown;
}

let folder: string;
let kms: Kms;
const at = (name: string) => join(folder, name);

async function sealet(...args: readonly string[]): Promise<JsonRan> {
  const { exit, out, err } = await run(...args);
  const parse = (): unknown => JSON.parse(out === "" ? err : out);
  const json: unknown = args.includes("json") ? parse() : undefined;
  return { exit, out: stripVTControlCharacters(out), err: stripVTControlCharacters(err), json };
}

async function open(): Promise<void> {
  kms = await startKms(at("kms"), {
    verifier: attestVerifier,
    readCollateral: () => ({ snp: { Genoa: twinCa.collateral() } }),
    report: (_request, error) => assert.fail(String(error)),
  });
}

describe("Operators' commands", () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "sealet-cli-"));
    const made = await sealet("operator", "init", "--key", at("op.key"));
    assert.equal(made.exit, EXIT.OK);
    assert.equal(statSync(at("op.key")).mode & 0o777, 0o600);
    const parts = ["--dir", at("kms"), "--cluster", "prod", "--operator-key", at("op.key.pub")];
    const listen = `127.0.0.1:${await freePort()}`;
    parts.push("--endpoint", "kms.example.org:7443", "--listen", listen, "--lease-seconds", "60");
    const init = await sealet("kms", "init", ...parts);
    assert.equal(init.exit, EXIT.OK, init.err);
    assert.match(init.err, /Back this whole directory up/);
    writeFileSync(at("policy.json"), JSON.stringify(policyVersion(3)));
    await open();
    process.env["SEALET_KMS_SOCKET"] = kms.socket;
    process.env["SEALET_OPERATOR_KEY"] = at("op.key");
  });
  after(async () => {
    delete process.env["SEALET_KMS_SOCKET"];
    delete process.env["SEALET_OPERATOR_KEY"];
    await kms.close();
    rmSync(folder, { recursive: true });
  });

  it("init makes nothing twice", async () => {
    const again = [
      "kms",
      "init",
      "--dir",
      at("kms"),
      "--cluster",
      "prod",
      "--operator-key",
      at("op.key.pub"),
    ];
    const root = readFileSync(pathsOf(at("kms")).rootKey);
    assert.equal((await sealet(...again, "--endpoint", "x:1")).exit, EXIT.CONFIGURATION);
    assert.equal((await sealet("operator", "init", "--key", at("op.key"))).exit, EXIT.CONFIGURATION);
    assert.deepEqual(readFileSync(pathsOf(at("kms")).rootKey), root);
  });

  it("policy: checked, signed, applied, shown; an older one is refused", async () => {
    assert.match((await sealet("policy", "check", at("policy.json"))).out, /valid: version 3/);
    writeFileSync(at("bad.json"), JSON.stringify({ ...policyVersion(3), version: 0, extra: 1 }));
    const bad = await sealet("policy", "check", at("bad.json"));
    assert.equal(bad.exit, EXIT.CONFIGURATION);
    assert.match(bad.err, /version: .*extra: unknown key/);
    assert.match((await sealet("policy", "show")).out, /No policy is in force/);
    assert.equal(
      (await sealet("policy", "sign", at("policy.json"), "--out", at("policy.dsse"))).exit,
      EXIT.OK,
    );
    assert.match((await sealet("policy", "apply", at("policy.dsse"))).out, /version 3 is in force/);
    const refused = await sealet("policy", "apply", at("policy.dsse"), "-o", "json");
    assert.equal(refused.exit, EXIT.REFUSED);
    assert.match(refused.err, /"code":"POLICY_ROLLED_BACK".*"expected":"above 3","found":"3"/);
    assert.equal((await sealet("policy", "apply", at("policy.json"))).exit, EXIT.REFUSED);
    assert.match((await sealet("policy", "show")).out, /version +3[^]*"schema": "sealet\.policy\/v1"/);
  });

  it("nodes: added with initdata that a machine starts from, listed, released, reset, removed", async () => {
    const added = await sealet("nodes", "add", "w1", "--out", at("w1.img"), "-o", "json");
    assert.equal(added.exit, EXIT.OK, added.err);
    const document = unframeInitdata(readFileSync(at("w1.img")));
    const { node, kms: pinned, claimed } = parseInitdata(document);
    assert.deepEqual([node, claimed.role, pinned.endpoints], ["w1", "worker", ["kms.example.org:7443"]]);
    assert.deepEqual(pinned.spkiSha256, kms.spkiSha256);
    assert.ok(JSON.stringify(added.json).includes(initdataDigests(document).sha256.toString("hex")));
    using machine = await Machine.bootAt(kms.address, document);
    await machine.start();
    const list = await sealet("nodes", "list");
    assert.match(list.out, /^NAME +ROLE +DISK[^\n]*\nw1 +worker +sealed +[0-9a-f-]{36} +1 +until /);
    assert.equal((await sealet("nodes", "reset-disk", "w1")).exit, EXIT.TEMPORARY);
    assert.equal((await sealet("nodes", "release", "w1")).exit, EXIT.OK);
    assert.match((await sealet("nodes", "reset-disk", "w1")).out, /expects-blank/);
    assert.equal((await sealet("nodes", "remove", "w1")).exit, EXIT.OK);
    assert.deepEqual((await sealet("nodes", "list", "-o", "json")).json, []);
    assert.equal((await sealet("nodes", "remove", "w1")).exit, EXIT.REFUSED);
  });

  it("nodes reissue: new initdata opens the same disk, the old one nothing any more", async () => {
    const image = (name: string) => unframeInitdata(readFileSync(at(name)));
    await sealet("nodes", "add", "w5", "--role", "control-plane", "--out", at("w5.img"));
    using old = await Machine.bootAt(kms.address, image("w5.img"));
    const { key } = await old.start();
    const reissue = (out: string, ...more: string[]) =>
      sealet("nodes", "reissue", "w5", "--out", at(out), "--endpoint", "new.example.org:7443", ...more);
    assert.match((await reissue("held.img")).err, /LEASE_HELD/);
    assert.ok(!existsSync(at("held.img")));
    await sealet("nodes", "release", "w5");
    assert.match((await reissue("new.img")).out, /role +control-plane/);
    assert.deepEqual(parseInitdata(image("new.img")).kms.endpoints, ["new.example.org:7443"]);
    assert.equal(await codeOf(old.unseal()), "ENROLMENT_INVALID");
    using machine = await Machine.bootAt(kms.address, image("new.img"));
    machine.disk = old.disk;
    assert.deepEqual((await machine.start()).key, key);
    await sealet("nodes", "release", "w5");
    await sealet("nodes", "remove", "w5");
    const unknown = await reissue("gone.img");
    assert.match(unknown.err, /NODE_UNKNOWN/);
    const removed = await sealet("audit", "list", "--node", "w5", "-o", "json");
    assert.match(removed.out, /"request":"remove-node","before":\{"id":"[0-9a-f]{32}"/);
  });

  it("nodes add leaves no image behind where the KMS refuses", async () => {
    await sealet("nodes", "add", "w2", "--role", "control-plane", "--out", at("w2.img"));
    const before = readFileSync(at("w2.img"));
    const twice = await sealet("nodes", "add", "w2", "--out", at("again.img"), "-o", "json");
    assert.equal(twice.exit, EXIT.REFUSED);
    assert.match(twice.err, /NODE_EXISTS/);
    for (const name of ["again.img", "again.img.draft"]) assert.ok(!existsSync(at(name)));
    const over = await sealet("nodes", "add", "w4", "--out", at("w2.img"));
    assert.match(over.err, /USAGE.*w2\.img is there already/);
    assert.deepEqual(readFileSync(at("w2.img")), before);
    assert.doesNotMatch((await sealet("nodes", "list")).out, /w4/);
    assert.equal((await sealet("nodes", "add", "W2", "--out", at("x.img"))).exit, EXIT.REFUSED);
    assert.equal(
      (await sealet("nodes", "add", "w3", "--role", "admin", "--out", at("x.img"))).exit,
      EXIT.USAGE,
    );
  });

  it("audit: listed, and its chain followed; a changed log is found out", async () => {
    const list = await sealet("audit", "list");
    assert.match(list.out, /^# +TIME +ACTION +NODE +CODE +WHAT\n1 [^\n]*collateral/);
    assert.match(list.out, /release +w1 +OK/);
    assert.match(list.out, /operator-refusal +- +POLICY_ROLLED_BACK/);
    const only = await sealet("audit", "list", "--node", "w1", "--limit", "2", "-o", "json");
    assert.ok(Array.isArray(only.json) && only.json.length === 2);
    const whole = await sealet("audit", "verify");
    const head = /head +([0-9a-f]{64})/.exec(whole.out)?.[1] ?? assert.fail(whole.err);
    assert.equal((await sealet("audit", "verify", "--expect", head)).exit, EXIT.OK);
    assert.match((await sealet("audit", "verify", "--expect", "00".repeat(32))).err, /it was cut/);
    await kms.close();
    const db = new DatabaseSync(pathsOf(at("kms")).database);
    db.exec("UPDATE audit SET node = 'w9' WHERE sequence = 4");
    db.close();
    await open();
    const broken = await sealet("audit", "verify", "-o", "json");
    assert.notEqual(broken.exit, EXIT.OK);
    assert.match(broken.err, /entry 4 after entry 0|hash chain is broken/);
  });

  it("says so where no KMS runs", async () => {
    const nobody = await sealet("nodes", "list", "--socket", at("none.sock"));
    assert.equal(nobody.exit, EXIT.UNAVAILABLE);
    assert.match(
      nobody.err,
      /^KMS_UNREACHABLE {2}Nobody answers at .*none\.sock: 'sealet kms serve' does not run/,
    );
  });
});
