/** The verifier of `agent/attest`, with the collateral that this KMS has. */
import { AppraisalCache, type Collateral, type Evidence, appraise } from "../attest/appraise.ts";
import { parsePolicy } from "../attest/policy.ts";
import { nodeCrypto } from "../crypto/node.ts";
import { SealetError } from "../error.ts";
import type { Verifier } from "./verifier.ts";

/** @param collateral asked at each appraisal, so that newer collateral takes effect at once */
export function attestVerifier(collateral: (evidence: Evidence) => Collateral): Verifier {
  const crypto = nodeCrypto();
  const cache = new AppraisalCache(crypto);
  return {
    readPolicy(payload, cluster) {
      const parsed = parsePolicy(payload);
      if (!parsed.ok) {
        const problems = parsed.problems.map(({ path, message }) => `${path || "."}: ${message}`);
        throw new SealetError("POLICY_INVALID", `The policy is not valid: ${problems.join("; ")}`, {
          predicate: parsed.problems[0]?.path,
        });
      }
      const { policy } = parsed;
      if (policy.cluster !== cluster)
        throw new SealetError("POLICY_INVALID", "The policy is not this cluster's", {
          predicate: "policy.cluster",
          expected: cluster,
          found: policy.cluster ?? "none named",
        });
      return {
        version: BigInt(policy.version),
        appraise: (evidence, { reportData, initdataSha256, initdataSha384 }, at) =>
          appraise({
            evidence,
            collateral: collateral(evidence),
            policy,
            at,
            crypto,
            cache,
            expect: { reportData, initdata: { sha256: initdataSha256, sha384: initdataSha384 } },
            // Anybody may send evidence: nothing dear is computed for what fails a cheap predicate.
            brief: true,
          }),
      };
    },
  };
}
