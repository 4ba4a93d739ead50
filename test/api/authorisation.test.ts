/** Who may call what. */
import assert from "node:assert/strict";
import { ALLOWED, authorise, callerOf } from "../../agent/api/authorisation.ts";
import { HealthService } from "../../agent/api/gen/health.ts";
import { ServerReflectionService } from "../../agent/api/gen/reflection.ts";
import { NodeService } from "../../agent/api/gen/sealet.ts";

describe("authorisation", () => {
  it("has a row for every method that is served, and none more", () => {
    const served = [NodeService, HealthService, ServerReflectionService].flatMap((service) =>
      Object.values(service).map(({ path }) => path),
    );
    assert.deepEqual(new Set(Object.keys(ALLOWED)), new Set<string>(served));
  });

  it("lets nobody call what is not in the table", () => {
    for (const path of ["/sealet.v1.Kms/Unseal", "/sealet.v1.Node/", "constructor", "__proto__", ""]) {
      assert.throws(() => authorise(path, "root"), { code: "PERMISSION_DENIED" });
    }
  });

  it("takes only the control plane's certificates", () => {
    assert.equal(callerOf({ O: "sealet:control-plane", CN: "kms" }), "control-plane");
    assert.equal(callerOf({ O: ["system:nodes", "system:masters"] }), "control-plane");
    assert.throws(() => callerOf(undefined), { code: "UNAUTHENTICATED" });
    for (const subject of [
      { O: "system:nodes", CN: "system:node:worker-1" },
      { CN: "sealet:control-plane" },
      { O: "sealet:control-plane:guests" },
      { O: ["system:masters\u0000", "System:Masters"] },
      {},
      { O: [] },
    ]) {
      assert.throws(() => callerOf(subject), { code: "PERMISSION_DENIED" });
    }
  });
});
