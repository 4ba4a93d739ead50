import assert from "node:assert/strict";
import { checkPolicy, parsePolicy, type PolicyProblem } from "../../agent/attest/policy.ts";
import { amdCa } from "../twin/amd-ca.ts";
import { genuinePolicy, strictPolicy } from "./snp/policies.ts";

const good = strictPolicy(amdCa("Genoa"));
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

type Tree = { [name: string]: unknown };

/** A deep copy with one value replaced; `undefined` removes it. */
function changed(path: string, value: unknown): Tree {
  const copy: unknown = JSON.parse(JSON.stringify(good));
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  let at: unknown = copy;
  for (const key of keys) at = Reflect.get(object(at), key);
  if (value === undefined) Reflect.deleteProperty(object(at), last);
  else Reflect.set(object(at), last, value);
  return Object.fromEntries(Object.entries(object(copy)));
}

function object(value: unknown): object {
  assert.ok(typeof value === "object" && value !== null);
  return value;
}

function problemsOf(value: unknown): readonly PolicyProblem[] {
  const parsed = checkPolicy(value);
  assert.ok(!parsed.ok);
  return parsed.problems;
}

/** Every path of the policy that names a field. */
function paths(value: unknown, prefix = ""): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  if ("unchecked" in value || "anyOf" in value) return [];
  return Object.entries(value).flatMap(([key, item]) => [
    `${prefix}${key}`,
    ...paths(item, `${prefix}${key}.`),
  ]);
}

describe("policy", () => {
  it("parses from JSON", () => {
    const parsed = parsePolicy(bytes(good));
    assert.ok(parsed.ok);
    assert.deepEqual(parsed.policy, good);
    assert.ok(parsePolicy(bytes(genuinePolicy("Milan"))).ok);
  });

  for (const path of paths(good))
    it(`has no default: without ${path} it is refused, with that path`, () => {
      const found = problemsOf(changed(path, undefined));
      assert.ok(
        found.some((problem) => problem.path === path),
        JSON.stringify(found),
      );
    });

  const SNP = "tees.sev-snp";
  const WRONG: readonly (readonly [path: string, value: unknown, at?: string])[] = [
    ["schema", "sealet.policy/v2"],
    ["version", 0],
    ["version", 1.5],
    ["version", "1"],
    ["extra", 1],
    [`${SNP}.extra`, 1],
    ["tees.sgx", "denied"],
    [`${SNP}.measurement`, { anyOf: [] }, `${SNP}.measurement.anyOf`],
    [`${SNP}.measurement`, { anyOf: ["AB".repeat(48)] }, `${SNP}.measurement.anyOf.0`],
    [`${SNP}.measurement`, { anyOf: ["ab".repeat(47)] }, `${SNP}.measurement.anyOf.0`],
    [`${SNP}.measurement`, { unchecked: "" }, `${SNP}.measurement.unchecked`],
    [`${SNP}.measurement`, { unchecked: true }, `${SNP}.measurement.unchecked`],
    [`${SNP}.measurement`, "any"],
    [`${SNP}.guestPolicy.debug`, "set"],
    [`${SNP}.guestPolicy.debug`, { unchecked: "we debug" }],
    [`${SNP}.guestPolicy.smt`, "any"],
    [`${SNP}.vmpl`, { anyOf: [4] }, `${SNP}.vmpl.anyOf.0`],
    [`${SNP}.crl`, { issuedSince: "yesterday" }, `${SNP}.crl.issuedSince`],
    [`${SNP}.signers.vlek`, { cspIds: [] }, `${SNP}.signers.vlek.cspIds`],
    [`${SNP}.products.Genoa.root`, "intel"],
    [`${SNP}.products.Genoa.minimumTcb.snp`, 256],
    [`${SNP}.products.Genoa.minimumTcb.fmc`, 1],
    [`${SNP}.products.Rome`, "denied"],
    [`${SNP}.mitigations`, { launch: [64], current: [] }, `${SNP}.mitigations.launch.0`],
    [`${SNP}.deniedChips`, ["zz"], `${SNP}.deniedChips.0`],
  ];
  for (const [path, value, at = path] of WRONG)
    it(`refuses ${path} = ${JSON.stringify(value)} at ${at}`, () => {
      const found = problemsOf(changed(path, value));
      assert.ok(
        found.some((problem) => problem.path === at),
        JSON.stringify(found),
      );
    });

  it("reports every problem at once", () => {
    const twice = changed("version", 0);
    twice["description"] = 7;
    twice["nonsense"] = true;
    assert.deepEqual(
      problemsOf(twice)
        .map(({ path }) => path)
        .toSorted(),
      ["description", "nonsense", "version"],
    );
  });

  const BYTES: readonly (readonly [string, Uint8Array])[] = [
    ["no JSON", new TextEncoder().encode("{")],
    ["no UTF-8", Uint8Array.of(0xff)],
    ["over the limit", new Uint8Array(3 * 1024 * 1024)],
    ["null", bytes(null)],
    ["a list", bytes([])],
  ];
  for (const [what, file] of BYTES)
    it(`refuses ${what}`, () => {
      const parsed = parsePolicy(file);
      assert.ok(!parsed.ok && parsed.problems.length > 0);
    });
});
