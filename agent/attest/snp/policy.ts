/** The part of the policy that is about SEV-SNP. A product line that is not listed is denied. */
import * as z from "zod";
import { anyOfHex, bit, byte, hexBytes, moment, orUnchecked } from "../policy-fields.ts";

const tcb = z.strictObject({ bootloader: byte, tee: byte, snp: byte, microcode: byte });
const turinTcb = z.strictObject({ fmc: byte, bootloader: byte, tee: byte, snp: byte, microcode: byte });

/** Version of the secure processor's firmware, compared from left to right. */
const firmware = z.strictObject({ major: byte, minor: byte, build: byte });

/** AMD's own root; or one named by digest, for a twin: no release policy has that. */
const root = z.union([
  z.literal("amd"),
  z.strictObject({ sha256: hexBytes(32), reason: z.string().min(3).max(500) }),
]);

/**
 * Known breaks that no field of a report shows. Milan: the root seed of its keys was extracted by software alone (2026),
 * so that a report of any chip of which an attacker had hold can be forged at any TCB.
 */
const RISK = { milanRootSeed: "milan-root-seed" } as const;

const acceptedRisk = z.strictObject({
  risk: z.enum([RISK.milanRootSeed]),
  reason: z.string().min(3).max(500),
});

function product<T extends z.ZodType>(tcbSchema: T, chipBytes: number) {
  return z.strictObject({
    root,
    minimumTcb: orUnchecked(tcbSchema),
    /** TCB at the guest's launch: what ran then may have left something behind. */
    minimumLaunchTcb: orUnchecked(tcbSchema),
    /** The committed version, which the host can't go back behind. */
    minimumFirmware: orUnchecked(firmware),
    /** Only these machines. */
    chips: orUnchecked(anyOfHex(chipBytes)),
    acceptedRisks: z.array(acceptedRisk).max(8),
  });
}

const milan = product(tcb, 64).superRefine((policy, context) => {
  const accepted = policy.acceptedRisks.some(({ risk }) => risk === RISK.milanRootSeed);
  if ("unchecked" in policy.chips && !accepted)
    context.addIssue({
      code: "custom",
      path: ["chips"],
      message: `Milan's root seed can be extracted: list the chips, or accept the risk "${RISK.milanRootSeed}"`,
    });
});

export const snpPolicy = z.strictObject({
  products: z.strictObject({
    Milan: z.union([milan, z.literal("denied")]),
    Genoa: z.union([product(tcb, 64), z.literal("denied")]),
    Turin: z.union([product(turinTcb, 8), z.literal("denied")]),
  }),
  /** The minima that sealet ships (`minima.ts`), each with AMD's bulletin. */
  bulletins: orUnchecked(z.literal("enforced")),
  /** HWIDs that are refused whatever they sign: AMD's CRL can't revoke a chip. Turin's as 8 bytes, or with zeros to 64. */
  deniedChips: z.array(hexBytes(64, 8)).max(100_000),
  signers: z.strictObject({
    vcek: z.enum(["allowed", "denied"]),
    vlek: z.union([
      z.literal("denied"),
      z.strictObject({ cspIds: z.array(z.string().min(1).max(256)).min(1).max(64) }),
    ]),
  }),
  /** Revocation of ASK and ASVK; a CRL from before `issuedSince` is refused as rolled back. */
  crl: orUnchecked(z.strictObject({ issuedSince: moment })),
  measurement: orUnchecked(anyOfHex(48)),
  /** "initdata": the digest of the initdata that the caller expects. */
  hostData: orUnchecked(z.union([z.literal("initdata"), anyOfHex(32)])),
  vmpl: orUnchecked(z.strictObject({ anyOf: z.array(z.int().min(0).max(3)).min(1).max(4) })),
  guestPolicy: z.strictObject({
    abi: orUnchecked(z.strictObject({ minimumMajor: byte, minimumMinor: byte })),
    smt: bit,
    migrateMa: bit,
    /** With debugging the host reads the guest's memory: there is no other value. */
    debug: z.literal("clear"),
    singleSocket: bit,
    cxl: bit,
    memAes256Xts: bit,
    raplDisabled: bit,
    ciphertextHiding: bit,
    pageSwapDisabled: bit,
  }),
  platform: z.strictObject({
    smt: bit,
    tsme: bit,
    ecc: bit,
    raplDisabled: bit,
    ciphertextHiding: bit,
    aliasCheckComplete: bit,
    iommuWriteSafe: bit,
    tio: bit,
  }),
  guestSvn: orUnchecked(z.strictObject({ minimum: z.int().min(0).max(0xffffffff) })),
  idKeyDigest: orUnchecked(anyOfHex(48)),
  authorKeyDigest: orUnchecked(anyOfHex(48)),
  familyId: orUnchecked(anyOfHex(16)),
  imageId: orUnchecked(anyOfHex(16)),
  /** "none": no migration agent is bound to the guest. */
  migrationAgent: orUnchecked(z.literal("none")),
  /** "denied": current firmware is the committed one, so that the host can't go back behind it. */
  provisionalFirmware: orUnchecked(z.literal("denied")),
  /** Bits that have to be set in the mitigation vectors of a version 5 report; AMD's bulletins say what they mean. */
  mitigations: orUnchecked(
    z.strictObject({
      launch: z.array(z.int().min(0).max(63)).max(64),
      current: z.array(z.int().min(0).max(63)).max(64),
    }),
  ),
});

export type SnpPolicy = z.infer<typeof snpPolicy>;
export type SnpProductPolicy = Exclude<SnpPolicy["products"][keyof SnpPolicy["products"]], "denied">;
