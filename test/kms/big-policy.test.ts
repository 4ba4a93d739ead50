/** A policy that lists chips, as long as one may be, through the operators' door. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { checkPolicy, POLICY_PAYLOAD_TYPE, type Policy } from "../../agent/attest/policy.ts";
import { METHOD, withOperator } from "../../agent/cli/operator-client.ts";
import { changeProduct } from "../attest/snp/policies.ts";
import { Cluster, codeOf, policyVersion } from "./cluster.ts";

const chips = () => ({ anyOf: Array.from({ length: 1024 }, () => randomBytes(64).toString("hex")) });

/** Two products, 1024 chips each. */
function bigPolicy(version: number): Policy {
  const { tees, ...rest } = policyVersion(version, changeProduct("Genoa", { chips: chips() }));
  const snp = tees["sev-snp"];
  assert.ok(snp !== "denied" && snp.products.Genoa !== "denied");
  const products = { ...snp.products, Milan: { ...snp.products.Genoa, chips: chips() } };
  const checked = checkPolicy({ ...rest, tees: { ...tees, "sev-snp": { ...snp, products } } });
  assert.ok(checked.ok);
  return checked.policy;
}

describe("KMS, a policy with many chips", () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await Cluster.start();
  });
  after(() => cluster[Symbol.asyncDispose]());

  const apply = (policy: Buffer) =>
    withOperator(cluster.kms.socket, (ask) => ask(METHOD.applyPolicy, { policy }));
  const shown = () => withOperator(cluster.kms.socket, (ask) => ask(METHOD.getPolicy, {}));
  /** JSON may end in spaces. */
  const signed = (version: number, length: number) =>
    cluster.operator.sign(
      POLICY_PAYLOAD_TYPE,
      Buffer.from(JSON.stringify(bigPolicy(version)).padEnd(length)),
    );

  it("is applied and shown, up to the longest that a policy may be", async () => {
    for (const [version, length] of [
      [2, 0],
      [3, 2 * 1024 * 1024],
    ] as const) {
      const envelope = signed(version, length);
      assert.ok(envelope.length > 256 * 1024);
      await apply(envelope);
      assert.deepEqual(await shown(), {
        version: BigInt(version),
        policy: envelope,
        sha256: (await shown()).sha256,
      });
    }
  });

  it("is refused by the KMS itself above that, and never as if the KMS were busy", async () => {
    assert.equal(await codeOf(apply(signed(4, 2 * 1024 * 1024 + 1))), "POLICY_INVALID");
    assert.equal(await codeOf(apply(Buffer.alloc(3 * 1024 * 1024 + 1))), "POLICY_INVALID");
    assert.equal(await codeOf(apply(Buffer.alloc(4 * 1024 * 1024 + 1))), "REQUEST_INVALID");
    assert.equal((await shown()).version, 3n);
  });
});
