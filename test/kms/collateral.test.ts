/** Collateral as a running KMS takes it in: what is dated ahead of its clock leaves no trace but in the audit log. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SnpCollateral } from "../../agent/attest/snp/check-chain.ts";
import { CollateralInForce } from "../../agent/kms/collateral-in-force.ts";
import { pathsOf } from "../../agent/kms/directory.ts";
import { SqliteStore } from "../../agent/kms/sqlite.ts";
import { Cluster, codeOf, Machine, twinCa } from "./cluster.ts";

const SKEW_MS = 10 * 60 * 1000;
const NAME = "snp.crl.Genoa";

function issued(thisUpdate: Date): { snp: { Genoa: SnpCollateral } } {
  const nextUpdate = new Date("2100-01-01T00:00:00Z");
  return { snp: { Genoa: twinCa.collateral(twinCa.crl({ thisUpdate, nextUpdate })) } };
}

async function storedTimes(cluster: Cluster): Promise<ReadonlyMap<string, number>> {
  await cluster.kms.close();
  const store = new SqliteStore(pathsOf(cluster.directory).database, cluster.clock.now);
  try {
    return await store.readCollateralTimes();
  } finally {
    await store.close();
    await cluster.open();
  }
}

describe("Collateral in force", () => {
  it("I5 dated ahead of the clock: refused, not remembered; what was in force stays, and genuine collateral loads", async () => {
    await using cluster = await Cluster.start();
    const genuine = issued(new Date("2026-06-01T00:00:00Z"));
    cluster.collateral = genuine;
    await cluster.kms.reloadCollateral();
    const before = await storedTimes(cluster);
    assert.equal(before.get(NAME), Date.parse("2026-06-01T00:00:00Z"));
    cluster.collateral = issued(new Date("2099-01-01T00:00:00Z"));
    await assert.rejects(cluster.kms.reloadCollateral(), {
      code: "COLLATERAL_INVALID",
      predicate: NAME,
      found: "issued 2099-01-01T00:00:00.000Z",
    });
    assert.equal((await cluster.history()).at(-1), "operator-refusal COLLATERAL_INVALID");
    using machine = await Machine.boot(cluster, await cluster.addNode("w1"));
    await machine.start();
    await cluster.kms.close();
    assert.equal(await codeOf(cluster.open()), "COLLATERAL_INVALID");
    cluster.collateral = genuine;
    await cluster.open();
    await cluster.kms.reloadCollateral();
    assert.deepEqual(await storedTimes(cluster), before);
  });

  it("a clock that is some minutes behind is borne with", async () => {
    const now = Date.parse("2026-06-01T00:00:00Z");
    const folder = mkdtempSync(join(tmpdir(), "sealet-collateral-"));
    const store = new SqliteStore(join(folder, "kms.db"), () => now);
    const load = (ahead: number): Promise<string> =>
      codeOf(
        new CollateralInForce(
          store,
          () => issued(new Date(now + ahead)),
          () => now,
        ).load(),
      );
    try {
      assert.equal(await load(SKEW_MS), "OK");
      assert.equal(await load(SKEW_MS + 1000), "COLLATERAL_INVALID");
    } finally {
      await store.close();
      rmSync(folder, { recursive: true });
    }
  });
});
