/**
 * What a verifier answers: every predicate with its stable code, what was expected and what was found. Nothing is
 * accepted by omission: a verdict accepts only when each predicate that its TEE demands was evaluated and held.
 */
import { equalBytes, hex } from "./bytes.ts";
import { describeRefusal, type Result } from "./malformed.ts";

export interface Predicate {
  /** Stable, `<area>.<predicate>`; the area's table says what it means. */
  readonly code: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly found: string;
  /** The policy says that this is not checked, and why. */
  readonly unchecked?: string;
}

export type ClaimValue =
  string | number | boolean | readonly ClaimValue[] | { readonly [name: string]: ClaimValue };
export type Claims = { readonly [name: string]: ClaimValue };

export interface Verdict {
  readonly accepted: boolean;
  readonly tee: string;
  readonly predicates: readonly Predicate[];
  /** Demanded, but not reached, because an earlier one failed. Empty where accepted. */
  readonly notEvaluated: readonly string[];
  /** What the evidence says of itself. Worth something only where `accepted`. */
  readonly claims: Claims;
}

/** The codes that failed. */
export function failures(verdict: Verdict): string[] {
  return verdict.predicates.filter(({ ok }) => !ok).map(({ code }) => code);
}

/** Collects the predicates of one appraisal. `Code` is the union of a TEE's table of predicates. */
export class Checks<Code extends string> {
  readonly #predicates: Predicate[] = [];
  #failed = false;

  get failed(): boolean {
    return this.#failed;
  }

  check(code: Code, ok: boolean, expected: string, found: string): boolean {
    this.#predicates.push({ code, ok, expected, found });
    if (!ok) this.#failed = true;
    return ok;
  }

  equal(code: Code, expected: Uint8Array, found: Uint8Array): boolean {
    return this.check(code, equalBytes(expected, found), hex(expected), hex(found));
  }

  /** The policy's `{ unchecked: reason }`. */
  unchecked(code: Code, reason: string, found: string): void {
    this.#predicates.push({ code, ok: true, expected: "not checked", found, unchecked: reason });
  }

  /** A parser's result as a predicate: its value, or undefined after a failed one. */
  parsed<T>(code: Code, expected: string, result: Result<T>): T | undefined {
    this.check(code, result.ok, expected, result.ok ? expected : describeRefusal(result.refusal));
    return result.ok ? result.value : undefined;
  }

  has(code: Code): boolean {
    return this.#predicates.some((predicate) => predicate.code === code);
  }

  /** @param demanded every code without which nothing is accepted */
  verdict(tee: string, demanded: readonly Code[], claims: Claims): Verdict {
    const seen = new Set(this.#predicates.map(({ code }) => code));
    const notEvaluated = demanded.filter((code) => !seen.has(code));
    return {
      accepted: !this.#failed && notEvaluated.length === 0 && demanded.length > 0,
      tee,
      predicates: this.#predicates,
      notEvaluated,
      claims,
    };
  }
}
