/** What the key service needs of a verifier; `agent/attest` behind it is pure and knows nothing of nodes or keys. */
import type { Evidence } from "../api/gen/sealet.ts";
import type { Verdict } from "../attest/verdict.ts";
import { SealetError } from "../error.ts";

interface Expectations {
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  readonly initdataSha256: Uint8Array;
  readonly initdataSha384: Uint8Array;
}

/** A policy that was read: immutable, and good for any number of appraisals. */
export interface ReadPolicy {
  readonly version: bigint;
  appraise(evidence: Evidence, expected: Expectations, at: number): Promise<Verdict>;
}

export interface Verifier {
  /**
   * @param payload of the signed file, JSON
   * @param cluster that it has to be for: operators' keys may serve several, and one's policy must not open another
   * @throws POLICY_INVALID with every problem
   */
  readPolicy(payload: Uint8Array, cluster: string): ReadPolicy;
}

/** @throws EVIDENCE_REFUSED naming what failed; its expected and found are the first one's */
export function demandAccepted(verdict: Verdict): void {
  if (verdict.accepted) return;
  const failed = verdict.predicates.filter(({ ok }) => !ok);
  const [first] = failed;
  const codes = [
    ...failed.map(({ code }) => code),
    ...verdict.notEvaluated.map((code) => `${code} (not reached)`),
  ];
  throw new SealetError("EVIDENCE_REFUSED", `The evidence does not meet the policy: ${codes.join(", ")}`, {
    predicate: first?.code ?? verdict.notEvaluated[0],
    expected: first?.expected,
    found: first?.found,
  });
}
