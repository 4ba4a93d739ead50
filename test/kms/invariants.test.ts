/** Age, explanations, roots: the invariants of the key service that no other file here attacks. */
import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { POLICY_PAYLOAD_TYPE } from "../../agent/attest/policy.ts";
import { vcekQuery } from "../../agent/attest/snp/vcek-query.ts";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { PATH } from "../../agent/collateral/directory.ts";
import { ENROLMENT_TYPE } from "../../agent/config/enrolment.ts";
import { followChain, GENESIS } from "../../agent/kms/audit.ts";
import { attestVerifier } from "../../agent/kms/attest-verifier.ts";
import { pathsOf } from "../../agent/kms/directory.ts";
import { PolicyInForce } from "../../agent/kms/policy-in-force.ts";
import { amdCa, certificateTable } from "../twin/amd-ca.ts";
import { Target } from "./attacker.ts";
import {
  type Cluster,
  Machine,
  codeOf,
  policyVersion,
  sealed,
  twinCa,
  twinEvidence,
  vcek,
} from "./cluster.ts";

describe("KMS under attack", () => {
  let target: Target;
  let cluster: Cluster;
  let initdata: Buffer;
  let machine: Machine;
  beforeEach(async () => {
    target = await Target.create();
    ({ cluster, initdata, machine } = target);
  });
  afterEach(() => target[Symbol.asyncDispose]());

  describe("I5", () => {
    it("an older policy is not applied again", async () => {
      await cluster.applyPolicy(policyVersion(5));
      for (const version of [5, 4])
        assert.equal(await codeOf(cluster.applyPolicy(policyVersion(version))), "POLICY_ROLLED_BACK");
      const { version } = await withOperator(cluster.kms.socket, (ask) => ask(METHOD.getPolicy, {}));
      assert.equal(version, 5n);
      assert.equal((await cluster.audit()).at(-1)?.code, "POLICY_ROLLED_BACK");
    });

    it("another cluster's policy, or one of none, does not come into force, nor count where the database has it", async () => {
      for (const other of ["lab", undefined]) {
        const { cluster: _prod, ...rest } = policyVersion(9);
        const policy = cluster.operator.sign(
          POLICY_PAYLOAD_TYPE,
          Buffer.from(JSON.stringify({ ...rest, ...(other && { cluster: other }) })),
        );
        await assert.rejects(
          withOperator(cluster.kms.socket, (ask) => ask(METHOD.applyPolicy, { policy })),
          { code: "POLICY_INVALID", expected: "prod", found: other ?? "none named" },
        );
        const store = { readPolicy: () => Promise.resolve({ version: 9n, envelope: policy }) };
        const [key = ""] = readdirSync(pathsOf(cluster.directory).operators);
        const file = readFileSync(join(pathsOf(cluster.directory).operators, key));
        const keys = [createPublicKey(file).export({ type: "spki", format: "der" })];
        const inForce = new PolicyInForce(
          store,
          attestVerifier(() => ({ snp: {} })),
          keys,
          "prod",
        );
        await assert.rejects(inForce.current(), { code: "POLICY_INVALID" });
      }
    });

    it("a policy that is invalid, or not signed by an operator, does not come into force", async () => {
      const apply = (policy: Buffer) =>
        withOperator(cluster.kms.socket, (ask) => ask(METHOD.applyPolicy, { policy }));
      const payload = Buffer.from(JSON.stringify({ ...policyVersion(7), tees: {} }));
      await assert.rejects(apply(cluster.operator.sign(POLICY_PAYLOAD_TYPE, payload)), {
        code: "POLICY_INVALID",
      });
      const good = Buffer.from(JSON.stringify(policyVersion(7)));
      await assert.rejects(apply(cluster.operator.sign(ENROLMENT_TYPE, good)), { code: "SIGNATURE_INVALID" });
      await assert.rejects(apply(good), { code: "SIGNATURE_INVALID" });
      assert.deepEqual((await cluster.history()).slice(-3), [
        "operator-refusal POLICY_INVALID",
        "operator-refusal SIGNATURE_INVALID",
        "operator-refusal SIGNATURE_INVALID",
      ]);
    });

    it("an older copy of the disk is refused", async () => {
      await machine.start();
      const old = machine.disk;
      await machine.start();
      await machine.start();
      machine.disk = old;
      await assert.rejects(machine.unseal(), {
        code: "DISK_ROLLED_BACK",
        predicate: "disk.epoch",
        expected: "3 or 4",
        found: "1",
      });
      machine.disk = sealed(old.uuid, 5n);
      await assert.rejects(machine.unseal(), { code: "RELEASE_REFUSED", predicate: "disk.epoch" });
      machine.disk = sealed(old.uuid, 3n, 2);
      await assert.rejects(machine.unseal(), { code: "RELEASE_REFUSED", predicate: "disk.generation" });
      machine.disk = { ...sealed(old.uuid, 0n), state: "interrupted" };
      await assert.rejects(machine.unseal(), { code: "DISK_ROLLED_BACK" });
    });
  });

  describe("I5 collateral", () => {
    it("older than what was seen is refused, also after a restart", async () => {
      cluster.collateral = issued("2026-06-01T00:00:00Z");
      await cluster.kms.reloadCollateral();
      cluster.collateral = issued("2026-05-01T00:00:00Z");
      await assert.rejects(cluster.kms.reloadCollateral(), {
        code: "COLLATERAL_ROLLED_BACK",
        predicate: "snp.crl.Genoa",
      });
      assert.equal((await cluster.history()).at(-1), "operator-refusal COLLATERAL_ROLLED_BACK");
      // What was in force still is.
      await machine.start();
      await cluster.kms.close();
      await assert.rejects(cluster.open(), { code: "COLLATERAL_ROLLED_BACK" });
      cluster.collateral = issued("2026-06-01T00:00:00Z");
      await cluster.open();
    });
  });

  describe("I7", () => {
    it("every refusal says what was expected and found, to the node and in the audit log, which is a chain", async () => {
      const policy = policyVersion(2, (snp) => ({ ...snp, measurement: { anyOf: ["cd".repeat(48)] } }));
      await cluster.applyPolicy(policy);
      await assert.rejects(machine.unseal(), {
        code: "EVIDENCE_REFUSED",
        predicate: "snp.measurement",
        expected: "cd".repeat(48),
        found: "ab".repeat(48),
      });
      const entries = await cluster.audit();
      const last = entries.at(-1) ?? assert.fail("no entry");
      assert.deepEqual([last.action, last.node, last.code], ["refusal", "w1", "EVIDENCE_REFUSED"]);
      const detail: unknown = JSON.parse(last.detail);
      assert.ok(typeof detail === "object" && detail !== null && "verdict" in detail && "found" in detail);
      assert.equal(detail.found, "ab".repeat(48));
      const genesis = { sequence: 0n, hash: GENESIS };
      assert.deepEqual(followChain(genesis, entries), { sequence: last.sequence, hash: last.hash });
      const changed = entries.with(2, { ...(entries[2] ?? last), node: "w9" });
      assert.deepEqual(followChain(genesis, changed), { broken: 3n });
      assert.deepEqual(followChain(genesis, entries.toSpliced(1, 1)), { broken: 2n });
    });

    it("the log holds no secret", async () => {
      const { key } = await machine.start();
      const text = JSON.stringify(await cluster.audit(), (_, value: unknown) =>
        typeof value === "bigint" ? String(value) : value,
      );
      for (const encoding of ["hex", "base64", "latin1"] as const)
        assert.ok(!text.includes(key.toString(encoding)));
    });

    it("a policy that comes into force while evidence is got decides", async () => {
      let applied = false;
      const evidence = twinEvidence(initdata);
      using late = await Machine.boot(cluster, initdata, async (bound, signal) => {
        if (!applied)
          await cluster.applyPolicy(
            policyVersion(9, (snp) => ({ ...snp, measurement: { anyOf: ["cd".repeat(48)] } })),
          );
        applied = true;
        return evidence(bound, signal);
      });
      await target.refused(late.unseal(), "EVIDENCE_REFUSED", "snp.measurement");
    });
  });

  describe("I8", () => {
    it("the twin's root is refused by a policy that does not name it", async () => {
      const amd = policyVersion(2, (snp) => {
        const { Genoa } = snp.products;
        if (Genoa === "denied") assert.fail("denied");
        return { ...snp, products: { ...snp.products, Genoa: { ...Genoa, root: "amd" } } };
      });
      await cluster.applyPolicy(amd);
      await target.refused(machine.unseal(), "EVIDENCE_REFUSED", "snp.root");
    });

    it("another twin's machine is refused: its chain ends elsewhere", async () => {
      const milan = amdCa("Milan");
      const vek = milan.issue();
      const auxiliary = Buffer.from(certificateTable({ vcek: vek.der }));
      using other = await Machine.boot(
        cluster,
        initdata,
        twinEvidence(initdata, { product: "Milan" }, { vek, auxiliary }),
      );
      await target.refused(other.unseal(), "EVIDENCE_REFUSED");
    });

    it("no TEE, no keys", async () => {
      for (const tee of ["", "none", "tdx", "twin"]) {
        using bare = await Machine.boot(cluster, initdata, () =>
          Promise.resolve({
            tee,
            report: Buffer.alloc(1184),
            auxiliary: Buffer.alloc(0),
            eventLog: Buffer.alloc(0),
          }),
        );
        await target.refused(bare.unseal(), "EVIDENCE_REFUSED");
      }
    });

    it("a report without its chip's certificate is refused, until the KMS has that", async () => {
      const bare = twinEvidence(initdata, {}, { vek: vcek, auxiliary: Buffer.alloc(0) });
      using machine2 = await Machine.boot(cluster, initdata, bare);
      await target.refused(machine2.unseal(), "EVIDENCE_REFUSED", "snp.certificate");
      const query = vcekQuery((await bare(Buffer.alloc(64), new AbortController().signal)).report);
      assert.ok(query.ok);
      const file = join(cluster.directory, "collateral", PATH.vcek(query.value));
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, vcek.der);
      assert.equal(await codeOf(machine2.unseal()), "OK");
    });

    it("a debug guest is refused", async () => {
      using debug = await Machine.boot(
        cluster,
        initdata,
        twinEvidence(initdata, { policy: 0x30000n | (1n << 19n) }),
      );
      await target.refused(debug.unseal(), "EVIDENCE_REFUSED");
    });
  });
});

function issued(iso: string): Cluster["collateral"] {
  const crl = twinCa.crl({ thisUpdate: new Date(iso), nextUpdate: new Date("2030-01-01T00:00:00Z") });
  return { snp: { Genoa: twinCa.collateral(crl) } };
}
