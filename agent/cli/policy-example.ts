/**
 * A whole policy to begin with: strict, and where something is not checked it says why. INVARIANT: what only the operator
 * can know stands there as a value that nothing matches, never as a gap.
 */
import type { Policy } from "../attest/policy.ts";
import { firmwareBelow, MINIMA, MINIMA_DATE } from "../attest/snp/minima.ts";
import type { SnpPolicy } from "../attest/snp/policy.ts";
import type { Product, TcbComponent } from "../attest/snp/product.ts";
import type { TdxPolicy } from "../attest/tdx/policy.ts";

export interface Example {
  readonly cluster: string;
  readonly tees: readonly ("sev-snp" | "tdx")[];
  /** SNP's; a line that is not here is denied. */
  readonly products: readonly Product[];
  /** SNP's launch measurement, TDX's MRTD: lower-case hex. undefined: to be put in by the operator. */
  readonly measurements: readonly string[] | undefined;
}

/** AMD's lists live 46 days; there is one of that day for each product line. */
const AMD_CRL_SINCE = "2026-08-19T00:00:00Z";
/** Intel's root CRL lives 379 days, everything else of Intel's 30. */
const INTEL_SINCE = "2025-11-01T00:00:00Z";
/** Of the documents that Intel served by default in February 2026. */
const INTEL_EVALUATION = 18;

/** All ones: zero is what a register holds that nothing was measured into. */
const toBePutIn = (bytes: number) => ({ anyOf: ["ff".repeat(bytes)] });
const DIGEST = 48;

export function examplePolicy({ cluster, tees, products, measurements }: Example): Policy {
  const measured = measurements === undefined ? toBePutIn(DIGEST) : { anyOf: [...measurements] };
  return {
    schema: "sealet.policy/v1",
    version: 1,
    cluster,
    description: `sealet's example, with the firmware minima of ${MINIMA_DATE}`,
    tees: {
      "sev-snp": tees.includes("sev-snp") ? snpExample(products, measured) : "denied",
      tdx: tees.includes("tdx") ? tdxExample(measured) : "denied",
    },
  };
}

/** Paths of what is to be put in, as `sealet policy check` writes paths. */
export function undecided(value: unknown, path: readonly string[] = []): string[] {
  if (typeof value === "string") return /^(?:ff)+$/.test(value) ? [path.join(".")] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => undecided(item, [...path, key]));
}

const SMT = { unchecked: 'most hosts run with SMT; "clear" where no other guest\'s thread may share a core' };
const RAPL = { unchecked: "few hosts switch RAPL off: power readings stay a side channel" };
const HIDING = { unchecked: "few hosts can hide ciphertext: the host sees which memory changes" };
const NEW_FIRMWARE = { unchecked: "only the newest firmware knows it" };
const ID_BLOCK = {
  unchecked: "said by an id block, and none is asked for: the measurement says what was launched",
};

function snpExample(products: readonly Product[], measurement: SnpPolicy["measurement"]): SnpPolicy {
  const anyChip = { unchecked: "any chip of AMD's; list the HWIDs to hold the cluster to its machines" };
  return {
    products: {
      // with its root seed known, a report of an unlisted chip may be forged
      Milan: products.includes("Milan") ? allowed("Milan", tcbOf, toBePutIn(64)) : "denied",
      Genoa: products.includes("Genoa") ? allowed("Genoa", tcbOf, anyChip) : "denied",
      Turin: products.includes("Turin") ? allowed("Turin", turinTcbOf, anyChip) : "denied",
    },
    bulletins: "enforced",
    deniedChips: [],
    signers: { vcek: "allowed", vlek: "denied" },
    crl: { issuedSince: AMD_CRL_SINCE },
    measurement,
    hostData: "initdata",
    vmpl: { anyOf: [0] },
    guestPolicy: {
      abi: { unchecked: "the guest's own demand; minima and bulletins are about the firmware that runs" },
      smt: SMT,
      migrateMa: "clear",
      debug: "clear",
      singleSocket: { unchecked: "a guest on two sockets is protected as well" },
      cxl: "clear",
      memAes256Xts: { unchecked: "AES-128 is accepted, which hosts use unless they are set up otherwise" },
      raplDisabled: RAPL,
      ciphertextHiding: HIDING,
      pageSwapDisabled: NEW_FIRMWARE,
    },
    platform: {
      smt: SMT,
      tsme: { unchecked: "guests have keys of their own, with it and without it" },
      ecc: "set",
      raplDisabled: RAPL,
      ciphertextHiding: HIDING,
      aliasCheckComplete: "set",
      iommuWriteSafe: NEW_FIRMWARE,
      tio: { unchecked: "the node trusts no device, with SEV-TIO and without it" },
    },
    guestSvn: ID_BLOCK,
    idKeyDigest: ID_BLOCK,
    authorKeyDigest: ID_BLOCK,
    familyId: ID_BLOCK,
    imageId: ID_BLOCK,
    migrationAgent: "none",
    provisionalFirmware: "denied",
    mitigations: { unchecked: "only reports of version 5 have them, and bulletins say which bits count" },
  };
}

type Svn = (component: TcbComponent) => number;
const tcbOf = (svn: Svn) => ({
  bootloader: svn("bootloader"),
  tee: svn("tee"),
  snp: svn("snp"),
  microcode: svn("microcode"),
});
const turinTcbOf = (svn: Svn) => ({ fmc: svn("fmc"), ...tcbOf(svn) });

/** With the minima that sealet ships. */
function allowed<T, C>(line: Product, tcb: (svn: Svn) => T, chips: C) {
  const known = MINIMA.filter(({ product }) => product === line);
  const components = known.flatMap(({ component }) => component ?? []);
  const versions = known.flatMap(({ firmware }) => (firmware === undefined ? [] : [firmware]));
  const [version] = versions.toSorted((a, b) => (firmwareBelow(a, b) ? 1 : -1));
  const none = { unchecked: `sealet ships no minimum for ${line} (${MINIMA_DATE})` };
  const svn: Svn = (name) => Math.max(0, ...components.map((c) => (c.name === name ? c.svn : 0)));
  const minimumTcb = components.length === 0 ? none : tcb(svn);
  return {
    root: "amd" as const,
    minimumTcb,
    minimumLaunchTcb: minimumTcb,
    minimumFirmware:
      version === undefined ? none : { major: version[0], minor: version[1], build: version[2] },
    chips,
    acceptedRisks: [],
  };
}

function tdxExample(mrTd: TdxPolicy["mrTd"]): TdxPolicy {
  const owner = { unchecked: "the host's word at launch; initdata says whose node it is" };
  return {
    root: "intel",
    tcb: {
      accepted: ["UpToDate"],
      minimumDate: { unchecked: "up to date by documents of at least this evaluation number says more" },
      minimumEvaluationDataNumber: INTEL_EVALUATION,
      advisories: { accepted: [] },
    },
    collateral: { issuedSince: INTEL_SINCE },
    platform: {
      allowed: { unchecked: "any platform of Intel's; list the PPIDs to hold the cluster to its machines" },
      denied: [],
      configuration: { unchecked: "clouds' platforms have all: several packages, cached keys, SMT" },
    },
    attributes: { required: ["SEPT_VE_DISABLE"], allowed: [] },
    // AVX, AVX-512, PKRU, CET and AMX; neither processor trace nor branch records
    xfam: { allowed: "0x0000000000061ae7" },
    mrSeam: { unchecked: "Intel signs the TDX module, and its TCB info rates it" },
    mrTd,
    mrConfigId: "initdata",
    mrOwner: owner,
    mrOwnerConfig: owner,
    // firmware's configuration, boot loader, kernel with command line and initrd; the agent extends none
    rtmr: [toBePutIn(DIGEST), toBePutIn(DIGEST), toBePutIn(DIGEST), { anyOf: ["00".repeat(DIGEST)] }],
    serviceTd: "none",
    devices: "none",
    eventLog: { unchecked: "the registers themselves are listed" },
  };
}
