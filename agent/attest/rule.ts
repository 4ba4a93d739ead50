/** One field of a policy as one predicate: held against what was found, or noted as not checked. */
import { hex } from "./bytes.ts";
import { isUnchecked, type Unchecked } from "./policy-fields.ts";
import type { Checks } from "./verdict.ts";

/**
 * @param holds asked only where the policy checks the field
 * @param expected text of what the policy wants
 */
export function checkRule<Code extends string, Field>(
  checks: Checks<Code>,
  code: Code,
  field: Field | Unchecked,
  found: () => string,
  holds: (field: Exclude<Field, Unchecked>) => boolean,
  expected: (field: Exclude<Field, Unchecked>) => string,
): boolean {
  if (isUnchecked(field)) {
    checks.unchecked(code, field.unchecked, found);
    return true;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the guard above leaves nothing else
  const rule = field as Exclude<Field, Unchecked>;
  return checks.check(code, holds(rule), () => expected(rule), found);
}

/** One of the values that the policy lists, in lower-case hex. */
export function checkAnyOf<Code extends string>(
  checks: Checks<Code>,
  code: Code,
  field: { readonly anyOf: readonly string[] } | Unchecked,
  bytes: Uint8Array,
): boolean {
  return checkRule(
    checks,
    code,
    field,
    () => hex(bytes),
    ({ anyOf }) => isListed(anyOf, hex(bytes)),
    ({ anyOf }) => oneOf(anyOf),
  );
}

const SETS = new WeakMap<readonly string[], ReadonlySet<string>>();
const SHORT = 8;

/** Whether a policy's list has it. Lists may be long, and a policy never changes: a set of a long one is kept. */
export function isListed(list: readonly string[], value: string): boolean {
  if (list.length <= SHORT) return list.includes(value);
  let set = SETS.get(list);
  if (set === undefined) {
    set = new Set(list);
    SETS.set(list, set);
  }
  return set.has(value);
}

/** A group's fields that the policy leaves unchecked, by their reasons. */
function uncheckedByReason(group: Readonly<Record<string, unknown>>): [reason: string, names: string][] {
  const names = new Map<string, string[]>();
  for (const [name, field] of Object.entries(group))
    if (isUnchecked(field)) names.set(field.unchecked, [...(names.get(field.unchecked) ?? []), name]);
  return [...names].map(([reason, list]) => [reason, list.join(", ")]);
}

/** Why nothing of a group is checked: for its predicate's `unchecked`. */
export function reasonsOf(group: Readonly<Record<string, unknown>>): string {
  return uncheckedByReason(group)
    .map(([reason, names]) => `${names}: ${reason}`)
    .join("; ");
}

/** What was found of a group, and which of its fields were not looked at, and why. */
export function withUnchecked(found: string, group: Readonly<Record<string, unknown>>): string {
  const rest = uncheckedByReason(group).map(([reason, names]) => `${names} (${reason})`);
  return rest.length === 0 ? found : `${found}; not checked: ${rest.join(", ")}`;
}

const SHOWN = 4;

/** A list that may be long, for people. */
export function oneOf(values: readonly string[]): string {
  return values.length <= SHOWN
    ? values.join(" or ")
    : `${values.slice(0, SHOWN).join(" or ")} or one of ${values.length - SHOWN} more`;
}
