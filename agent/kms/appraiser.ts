/** Evidence against the policy in force, then a decision that holds only while that policy does. */
import type { Evidence } from "../api/gen/sealet.ts";
import type { Verdict } from "../attest/verdict.ts";
import { SealetError } from "../error.ts";
import type { PolicyInForce } from "./policy-in-force.ts";
import type { NodeRecord } from "./record.ts";
import type { Decide, Recorder, Trace } from "./recorder.ts";
import { sha256Hex } from "./signed-file.ts";
import { demandAccepted } from "./verifier.ts";

/** Another policy came into force between appraisal and decision. */
class PolicyChanged extends Error {}

export interface AppraiserParts {
  readonly policy: PolicyInForce;
  readonly recorder: Recorder;
  /** Appraisals at once. */
  readonly most: number;
  readonly now: () => number;
}

export class Appraiser {
  readonly #parts: AppraiserParts;
  #running = 0;

  constructor(parts: AppraiserParts) {
    this.#parts = parts;
  }

  /**
   * INVARIANT (I1): the evidence is held against this request's own report data, and this record's initdata.
   * @throws EVIDENCE_REFUSED, KMS_BUSY, what `decide` throws
   */
  async decide<T>(
    subject: { readonly record: NodeRecord; readonly evidence: Evidence; readonly reportData: Uint8Array },
    trace: Trace,
    decide: Decide<T>,
  ): Promise<T> {
    const { record, evidence, reportData } = subject;
    const { policy: inForce, recorder, now } = this.#parts;
    trace.detail["evidence"] = { tee: evidence.tee.slice(0, 32), sha256: sha256Hex(evidence.report) };
    const expected = {
      reportData,
      initdataSha256: Buffer.from(record.initdataSha256, "hex"),
      initdataSha384: Buffer.from(record.initdataSha384, "hex"),
    };
    for (;;) {
      const policy = await inForce.current();
      trace.detail["policyVersion"] = Number(policy.version);
      const verdict = await this.#limited(() => policy.appraise(evidence, expected, now()));
      trace.detail["verdict"] = summary(verdict);
      demandAccepted(verdict);
      try {
        return await recorder.decide(record.name, trace, (state, at) => {
          if (state.policyVersion !== policy.version) throw new PolicyChanged();
          return decide(state, at);
        });
      } catch (thrown) {
        if (!(thrown instanceof PolicyChanged)) throw thrown;
      }
    }
  }

  async #limited<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#parts.most)
      throw new SealetError("KMS_BUSY", "Too much evidence waits to be verified");
    this.#running++;
    try {
      return await run();
    } finally {
      this.#running--;
    }
  }
}

/** For the audit log: what failed, what was not looked at and why, and what the evidence says. */
function summary({ accepted, tee, predicates, notEvaluated, claims }: Verdict): Record<string, unknown> {
  const failed = predicates.filter(({ ok }) => !ok);
  const unchecked = predicates
    .filter((predicate) => predicate.unchecked !== undefined)
    .map(({ code }) => code);
  return { accepted, tee, held: predicates.length - failed.length, failed, notEvaluated, unchecked, claims };
}
