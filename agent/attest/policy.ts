/**
 * The policy: the versioned reference values and minima that decide a release. Signed elsewhere (DSSE); here it is parsed
 * into a type that can't be incomplete. Unknown keys fail, and every problem is reported at once with its path.
 */
import * as z from "zod";
import { parseJson } from "./json.ts";
import { attempt, describeRefusal } from "./malformed.ts";
import { azurePolicy } from "./azure/policy.ts";
import { ccaPolicy } from "./cca/policy.ts";
import { snpPolicy } from "./snp/policy.ts";
import { tdxPolicy } from "./tdx/policy.ts";

export const POLICY_PAYLOAD_TYPE = "application/vnd.sealet.policy+json";
const MAX_POLICY = 2 * 1024 * 1024;
const MAX_PROBLEMS = 200;

const TEES = ["sev-snp", "tdx", "azure-sev-snp", "azure-tdx", "arm-cca"] as const;
export type Tee = (typeof TEES)[number];

const policySchema = z.strictObject({
  schema: z.literal("sealet.policy/v1"),
  /** Only ever higher: an older one is refused as rolled back. */
  version: z.int().min(1).max(Number.MAX_SAFE_INTEGER),
  /** The cluster that it decides for; a KMS takes none of another's. Relying parties need none. */
  cluster: z.string().max(63).exactOptional(),
  description: z.string().max(2000),
  /** A TEE's part, or that it is denied. */
  tees: z.strictObject({
    "sev-snp": z.union([snpPolicy, z.literal("denied")]),
    tdx: z.union([tdxPolicy, z.literal("denied")]),
    /** These two may be left out: they are denied then. */
    azure: z.union([azurePolicy, z.literal("denied")]).optional(),
    "arm-cca": z.union([ccaPolicy, z.literal("denied")]).optional(),
  }),
});

export type Policy = z.infer<typeof policySchema>;

export interface PolicyProblem {
  /** Dotted, as `tees.sev-snp.measurement.anyOf.0`; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

export type ParsedPolicy =
  | { readonly ok: true; readonly policy: Policy }
  | { readonly ok: false; readonly problems: readonly PolicyProblem[] };

/** @param bytes JSON, UTF-8 */
export function parsePolicy(bytes: Uint8Array): ParsedPolicy {
  if (bytes.length > MAX_POLICY) return problem(`over ${MAX_POLICY} bytes`);
  const value = attempt(() => parseJson(bytes, "policy"));
  return value.ok ? checkPolicy(value.value) : problem(describeRefusal(value.refusal));
}

/** A policy that is an object already. */
export function checkPolicy(value: unknown): ParsedPolicy {
  const parsed = policySchema.safeParse(value);
  if (parsed.success) return { ok: true, policy: parsed.data };
  return {
    ok: false,
    problems: parsed.error.issues.flatMap((issue) => problems(issue, [])).slice(0, MAX_PROBLEMS),
  };
}

function problem(message: string): ParsedPolicy {
  return { ok: false, problems: [{ path: "", message }] };
}

type Issue = z.core.$ZodIssue;

/** A union's own message says nothing: its best branch, the one with the fewest problems, is reported in its place. */
function problems(issue: Issue, prefix: readonly PropertyKey[]): PolicyProblem[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === "invalid_union") {
    const branches = issue.errors.map((errors) => errors.flatMap((error) => problems(error, path)));
    const [best] = branches.toSorted((a, b) => weight(a, path) - weight(b, path));
    if (best !== undefined && best.length > 0) return best;
  }
  const dotted = path.map(String).join(".");
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({
      path: dotted === "" ? key : `${dotted}.${key}`,
      message: "unknown key",
    }));
  return [{ path: dotted, message: issue.message }];
}

/** A branch that fails at the union's own level is of another kind than what was meant. */
function weight(branch: readonly PolicyProblem[], path: readonly PropertyKey[]): number {
  const here = path.map(String).join(".");
  return branch.length + (branch.some((found) => found.path === here) ? 1000 : 0);
}
