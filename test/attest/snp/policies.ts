/** Policies for tests: a strict one for the twin, and one that leaves to a genuine artefact what is not its point. */
import { checkPolicy, type Policy } from "../../../agent/attest/policy.ts";
import type { SnpPolicy } from "../../../agent/attest/snp/policy.ts";
import type { Product } from "../../../agent/attest/snp/product.ts";
import type { AmdCa } from "../../twin/amd-ca.ts";

const skip = { unchecked: "not this test's point" };

export const MEASUREMENT = "ab".repeat(48);

/** Denies everything; the base that others change. */
const base: SnpPolicy = {
  products: { Milan: "denied", Genoa: "denied", Turin: "denied" },
  bulletins: "enforced",
  deniedChips: [],
  signers: { vcek: "allowed", vlek: { cspIds: ["CN=cc-twin.example"] } },
  crl: { issuedSince: "2025-01-01T00:00:00Z" },
  measurement: { anyOf: [MEASUREMENT] },
  hostData: "initdata",
  vmpl: { anyOf: [0] },
  guestPolicy: {
    abi: { minimumMajor: 0, minimumMinor: 0 },
    smt: skip,
    migrateMa: "clear",
    debug: "clear",
    singleSocket: skip,
    cxl: "clear",
    memAes256Xts: skip,
    raplDisabled: skip,
    ciphertextHiding: skip,
    pageSwapDisabled: skip,
  },
  platform: {
    smt: skip,
    tsme: skip,
    ecc: "set",
    raplDisabled: skip,
    ciphertextHiding: skip,
    aliasCheckComplete: "set",
    iommuWriteSafe: skip,
    tio: skip,
  },
  guestSvn: { minimum: 0 },
  idKeyDigest: { anyOf: ["00".repeat(48)] },
  authorKeyDigest: { anyOf: ["00".repeat(48)] },
  familyId: { anyOf: ["00".repeat(16)] },
  imageId: { anyOf: ["00".repeat(16)] },
  migrationAgent: "none",
  provisionalFirmware: "denied",
  mitigations: skip,
};

const MINIMUM = { bootloader: 1, tee: 0, snp: 1, microcode: 1 };
const common = {
  minimumFirmware: { major: 1, minor: 55, build: 1 },
  chips: skip,
  acceptedRisks: [{ risk: "milan-root-seed" as const, reason: "a twin has no chip" }],
};

function policyOf(snp: SnpPolicy): Policy {
  const checked = checkPolicy({
    schema: "sealet.policy/v1",
    version: 1,
    description: "for tests",
    tees: { "sev-snp": snp, tdx: "denied" },
  });
  if (!checked.ok)
    throw new Error(checked.problems.map(({ path, message }) => `${path}: ${message}`).join("\n"));
  return checked.policy;
}

export type Change = (policy: SnpPolicy) => SnpPolicy;

/** Everything is checked, with the twin's root. */
export function strictPolicy(ca: AmdCa, change: Change = (policy) => policy): Policy {
  const root = { sha256: ca.arkSha256, reason: "twin" };
  const product = { root, minimumTcb: MINIMUM, minimumLaunchTcb: MINIMUM, ...common };
  const turin = {
    ...product,
    minimumTcb: { fmc: 1, ...MINIMUM },
    minimumLaunchTcb: { fmc: 1, ...MINIMUM },
  };
  const products = { ...base.products, [ca.product]: ca.product === "Turin" ? turin : product };
  return policyOf(change({ ...base, products }));
}

/** AMD's root, and nothing of what a genuine old report cannot have. */
export function genuinePolicy(product: Product, change: Change = (policy) => policy): Policy {
  const allowed = {
    root: "amd" as const,
    ...common,
    minimumTcb: skip,
    minimumLaunchTcb: skip,
    minimumFirmware: skip,
  };
  const bits = <T extends object>(table: T): { [K in keyof T]: typeof skip } =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one entry for each of the table's
    Object.fromEntries(Object.keys(table).map((name) => [name, skip])) as { [K in keyof T]: typeof skip };
  return policyOf(
    change({
      ...base,
      products: { ...base.products, [product]: allowed },
      bulletins: skip,
      signers: { vcek: "allowed", vlek: { cspIds: ["CN=cc-us-east-2.amazonaws.com"] } },
      crl: skip,
      measurement: skip,
      hostData: skip,
      guestPolicy: { ...bits(base.guestPolicy), debug: "clear" },
      platform: bits(base.platform),
      guestSvn: skip,
      idKeyDigest: skip,
      authorKeyDigest: skip,
      familyId: skip,
      imageId: skip,
      migrationAgent: skip,
      provisionalFirmware: skip,
    }),
  );
}

/** Replaces the allowed product's part. */
export function changeProduct(product: Product, fields: Record<string, unknown>): Change {
  return (policy) => {
    const before = policy.products[product];
    if (before === "denied") throw new Error(`${product} is denied`);
    return { ...policy, products: { ...policy.products, [product]: { ...before, ...fields } } };
  };
}
