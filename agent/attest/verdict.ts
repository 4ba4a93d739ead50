/**
 * What a verifier answers: every predicate with its stable code, what was expected and what was found. Nothing is
 * accepted by omission: a verdict accepts only when each predicate that its TEE demands was evaluated and held.
 */
import { equalBytes, hex } from "./bytes.ts";
import { describeRefusal, type Result } from "./malformed.ts";

interface Predicate {
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

/** Text that costs something to make may be a function: it is called when somebody reads the predicates. */
export type Text = string | (() => string);

interface Noted {
  readonly code: string;
  readonly ok: boolean;
  readonly expected: Text;
  readonly found: Text;
  readonly unchecked?: string;
}

const written = (text: Text): string => (typeof text === "string" ? text : text());

const POSITIONS = new WeakMap<readonly string[], ReadonlyMap<string, number>>();

/** The demanded codes that are not among those noted. A TEE's list is always the same array: its index is kept. */
function missing<Code extends string>(noted: readonly Noted[], demanded: readonly Code[]): readonly Code[] {
  let positions = POSITIONS.get(demanded);
  if (positions === undefined) {
    positions = new Map(demanded.map((code, position) => [code, position]));
    POSITIONS.set(demanded, positions);
  }
  const seen = demanded.map(() => false);
  let left = demanded.length;
  for (const { code } of noted) {
    const position = positions.get(code);
    if (position === undefined || seen[position] === true) continue;
    seen[position] = true;
    left--;
  }
  return left === 0 ? [] : demanded.filter((_, position) => seen[position] !== true);
}

/** Collects the predicates of one appraisal. `Code` is the union of a TEE's table of predicates. */
export class Checks<Code extends string> {
  readonly #noted: Noted[] = [];
  #failed = false;

  get failed(): boolean {
    return this.#failed;
  }

  check(code: Code, ok: boolean, expected: Text, found: Text): boolean {
    this.#noted.push({ code, ok, expected, found });
    if (!ok) this.#failed = true;
    return ok;
  }

  equal(code: Code, expected: Uint8Array, found: Uint8Array): boolean {
    return this.check(
      code,
      equalBytes(expected, found),
      () => hex(expected),
      () => hex(found),
    );
  }

  /** The policy's `{ unchecked: reason }`. */
  unchecked(code: Code, reason: string, found: Text): void {
    this.#noted.push({ code, ok: true, expected: "not checked", found, unchecked: reason });
  }

  /** A parser's result as a predicate: its value, or undefined after a failed one. */
  parsed<T>(code: Code, expected: string, result: Result<T>): T | undefined {
    this.check(code, result.ok, expected, result.ok ? expected : describeRefusal(result.refusal));
    return result.ok ? result.value : undefined;
  }

  has(code: Code): boolean {
    return this.#noted.some((noted) => noted.code === code);
  }

  /**
   * @param demanded every code without which nothing is accepted
   * @param claims may be a function, called when somebody reads them
   */
  verdict(tee: string, demanded: readonly Code[], claims: Claims | (() => Claims)): Verdict {
    const notEvaluated = missing(this.#noted, demanded);
    const accepted = !this.#failed && notEvaluated.length === 0 && demanded.length > 0;
    return new WrittenVerdict({ accepted, tee, notEvaluated }, this.#noted, claims);
  }
}

/**
 * A verdict that writes its text when it is read. A class: an object literal with getters makes V8 keep what they hold
 * until the next full collection.
 */
class WrittenVerdict implements Verdict {
  readonly accepted: boolean;
  readonly tee: string;
  readonly notEvaluated: readonly string[];
  readonly #noted: readonly Noted[];
  readonly #given: Claims | (() => Claims);
  #predicates: readonly Predicate[] | undefined;
  #claims: Claims | undefined;

  constructor(
    { accepted, tee, notEvaluated }: Pick<Verdict, "accepted" | "tee" | "notEvaluated">,
    noted: readonly Noted[],
    claims: Claims | (() => Claims),
  ) {
    this.accepted = accepted;
    this.tee = tee;
    this.notEvaluated = notEvaluated;
    this.#noted = noted;
    this.#given = claims;
  }

  get predicates(): readonly Predicate[] {
    this.#predicates ??= this.#noted.map((one) => ({
      ...one,
      expected: written(one.expected),
      found: written(one.found),
    }));
    return this.#predicates;
  }

  get claims(): Claims {
    this.#claims ??= typeof this.#given === "function" ? this.#given() : this.#given;
    return this.#claims;
  }

  toJSON(): Verdict {
    const { accepted, tee, predicates, notEvaluated, claims } = this;
    return { accepted, tee, predicates, notEvaluated, claims };
  }
}
