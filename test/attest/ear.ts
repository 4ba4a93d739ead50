/** The trustworthiness vector of a verdict's attestation result. */
import assert from "node:assert/strict";
import { toEar, type Dimension } from "../../agent/attest/ear.ts";
import type { ClaimValue, Verdict } from "../../agent/attest/verdict.ts";

export const EAR_OPTIONS = {
  issuedAt: 1_780_000_000,
  verifier: { developer: "sealet", build: "test" },
  policyId: "p:1",
};

const membersOf = (value: ClaimValue | undefined): ReadonlyMap<string, ClaimValue> => {
  assert.ok(typeof value === "object" && !Array.isArray(value));
  return new Map(Object.entries(value));
};

/** Five numbers, by dimension. */
export function vectorOf(verdict: Verdict): Record<string, ClaimValue> {
  const [one] = membersOf(toEar(verdict, EAR_OPTIONS)["submods"]).values();
  return Object.fromEntries(membersOf(membersOf(one).get("ear.trustworthiness-vector")));
}

/** What affirms in each dimension, but for some. */
export function affirmingBut(change: Partial<Record<Dimension, number>>): Record<Dimension, number> {
  return {
    "instance-identity": 2,
    configuration: 2,
    executables: 2,
    hardware: 2,
    "runtime-opaque": 2,
    ...change,
  };
}

/** The same number in each dimension. */
export function throughout(value: number): Record<Dimension, number> {
  return {
    "instance-identity": value,
    configuration: value,
    executables: value,
    hardware: value,
    "runtime-opaque": value,
  };
}
