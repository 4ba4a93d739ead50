/** Predicates that a policy decides of the guest and the machine: reference values, bits by name, chips. All cheap. */
import { hex, isZero } from "../bytes.ts";
import { isUnchecked, type Unchecked } from "../policy-fields.ts";
import { checkAnyOf, checkRule, isListed, oneOf, reasonsOf, withUnchecked } from "../rule.ts";
import type { Checks } from "../verdict.ts";
import type { SnpPolicy, SnpProductPolicy } from "./policy.ts";
import type { SnpCode } from "./predicates.ts";
import { PRODUCTS, type Product } from "./product.ts";
import { hasBit, low32, PLATFORM_BIT, POLICY_BIT, policyAbi, type Report } from "./report.ts";
import type { Vek } from "./vek.ts";

type SnpChecks = Checks<SnpCode>;

export interface SnpExpectation {
  /** 64 bytes; or, for a look at evidence whose origin is not at stake, that it is not checked. */
  readonly reportData: Uint8Array | Unchecked;
  /** SHA-256 of the node's initdata; needed where the policy binds HOST_DATA to it. */
  readonly initdataDigest?: Uint8Array | undefined;
}

/** The product's part of the policy; undefined (and a failed predicate) where it is denied. */
export function checkProductAllowed(
  checks: SnpChecks,
  product: Product,
  policy: SnpPolicy,
): SnpProductPolicy | undefined {
  const found = policy.products[product];
  const allowed = (): string =>
    PRODUCTS.filter((name) => policy.products[name] !== "denied").join(" or ") || "none";
  checks.check("snp.product-allowed", found !== "denied", allowed, product);
  return found === "denied" ? undefined : found;
}

/** Who the guest is, and what it was launched from. */
export function checkIdentity(
  checks: SnpChecks,
  report: Report,
  policy: SnpPolicy,
  expect: SnpExpectation,
): void {
  if (isUnchecked(expect.reportData))
    checks.unchecked("snp.report-data", expect.reportData.unchecked, () => hex(report.reportData));
  else checks.equal("snp.report-data", expect.reportData, report.reportData);
  const { hostData } = policy;
  if (hostData !== "initdata") checkAnyOf(checks, "snp.host-data", hostData, report.hostData);
  else if (expect.initdataDigest !== undefined)
    checks.equal("snp.host-data", expect.initdataDigest, report.hostData);
  else {
    const missing = "the digest of initdata, which the caller did not give";
    checks.check("snp.host-data", false, missing, () => hex(report.hostData));
  }
  checkAnyOf(checks, "snp.measurement", policy.measurement, report.measurement);
  checkAnyOf(checks, "snp.id-key", policy.idKeyDigest, report.idKeyDigest);
  checkAnyOf(checks, "snp.author-key", policy.authorKeyDigest, report.authorKeyDigest);
  checkAnyOf(checks, "snp.family-id", policy.familyId, report.familyId);
  checkAnyOf(checks, "snp.image-id", policy.imageId, report.imageId);
}

/** How the guest runs, and how the machine is set up. */
export function checkGuest(checks: SnpChecks, report: Report, policy: SnpPolicy): void {
  const { vmpl, guestPolicy, platform, guestSvn, migrationAgent } = policy;
  checkRule(
    checks,
    "snp.vmpl",
    vmpl,
    () => String(report.vmpl),
    ({ anyOf }) => anyOf.includes(report.vmpl),
    ({ anyOf }) => anyOf.join(" or "),
  );
  const { abi, ...bits } = guestPolicy;
  checkBits(checks, "snp.guest-policy", bits, POLICY_BIT, low32(report.policy));
  const { major, minor } = policyAbi(report.policy);
  checkRule(
    checks,
    "snp.guest-abi",
    abi,
    () => `${major}.${minor}`,
    (floor) => major > floor.minimumMajor || (major === floor.minimumMajor && minor >= floor.minimumMinor),
    (floor) => `at least ${floor.minimumMajor}.${floor.minimumMinor}`,
  );
  checkBits(checks, "snp.platform", platform, PLATFORM_BIT, low32(report.platformInfo));
  checkRule(
    checks,
    "snp.guest-svn",
    guestSvn,
    () => String(report.guestSvn),
    ({ minimum }) => report.guestSvn >= minimum,
    ({ minimum }) => `at least ${minimum}`,
  );
  checkRule(
    checks,
    "snp.migration-agent",
    migrationAgent,
    () => hex(report.reportIdMa),
    () => report.reportIdMa.every((byte) => byte === 0xff),
    () => "none (all ones)",
  );
}

type BitRule = "set" | "clear" | Unchecked;

/** One predicate for a group of bits: of those that the policy checks; with none, not checked as a whole. */
function checkBits<Name extends string>(
  checks: SnpChecks,
  code: "snp.guest-policy" | "snp.platform",
  rules: { readonly [K in Name]: BitRule },
  table: { readonly [K in Name]: number },
  value: number,
): void {
  let ok = true;
  const checked: [name: Name, rule: "set" | "clear"][] = [];
  for (const name in table) {
    const rule: BitRule = rules[name];
    if (typeof rule !== "string") continue;
    checked.push([name, rule]);
    if (hasBit(value, table[name]) !== (rule === "set")) ok = false;
  }
  const stateOf = (name: Name): string => `${name} ${hasBit(value, table[name]) ? "set" : "clear"}`;
  if (checked.length === 0) {
    checks.unchecked(code, reasonsOf(rules), () => namesOf(table).map(stateOf).join(", "));
    return;
  }
  checks.check(
    code,
    ok,
    () => checked.map(([name, rule]) => `${name} ${rule}`).join(", "),
    () => withUnchecked(checked.map(([name]) => stateOf(name)).join(", "), rules),
  );
}

function namesOf<Name extends string>(table: { readonly [K in Name]: number }): Name[] {
  const names: Name[] = [];
  for (const name in table) names.push(name);
  return names;
}

export function checkSigner(checks: SnpChecks, { signer, cspId }: Vek, policy: SnpPolicy): void {
  const { vcek, vlek } = policy.signers;
  const ok =
    signer === "VCEK"
      ? vcek === "allowed"
      : vlek !== "denied" && cspId !== undefined && vlek.cspIds.includes(cspId);
  const expected = (): string => {
    const allowed = [
      ...(vcek === "allowed" ? ["VCEK"] : []),
      ...(vlek === "denied" ? [] : [`VLEK of ${oneOf(vlek.cspIds)}`]),
    ];
    return allowed.join(" or ") || "none";
  };
  checks.check("snp.signer-allowed", ok, expected, cspId === undefined ? signer : `${signer} of ${cspId}`);
}

export function checkChip(
  checks: SnpChecks,
  report: Report,
  vek: Vek,
  policy: SnpPolicy,
  { chips }: SnpProductPolicy,
): void {
  // a Turin chip is named by 8 bytes, the others by 64; in its report, and so in claims, zeros follow the 8
  const turin = vek.product === "Turin";
  const chipId = turin ? report.chipId.subarray(0, 8) : report.chipId;
  const chip = hex(chipId);
  const { deniedChips } = policy;
  const denied = isListed(deniedChips, chip) || (turin && isListed(deniedChips, hex(report.chipId)));
  checks.check("snp.chip-denied", !denied, "not on the list", denied ? chip : "not on the list");
  const masked = isZero(chipId);
  checkRule(
    checks,
    "snp.chip-allowed",
    chips,
    () => (masked ? "no chip" : chip),
    ({ anyOf }) => !masked && isListed(anyOf, chip),
    ({ anyOf }) => oneOf(anyOf),
  );
}
