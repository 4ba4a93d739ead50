/** What the tests ask a page, and what it answers. */
import type { Appraisal } from "../../agent/attest/appraise.ts";
import type { SignatureAlgorithm } from "../../agent/attest/crypto.ts";

export interface Signature {
  readonly algorithm: SignatureAlgorithm;
  readonly spki: Uint8Array;
  readonly signature: Uint8Array;
  readonly data: Uint8Array;
}

export interface Questions {
  readonly appraisals: readonly Omit<Appraisal, "crypto">[];
  readonly signatures: readonly Signature[];
}

export interface Answers {
  /** Verdicts as JSON. */
  readonly verdicts: readonly string[];
  readonly signatures: readonly boolean[];
  /** Node's globals that are there: none. */
  readonly foreign: readonly string[];
  readonly agent: string;
  readonly milliseconds: number;
}
