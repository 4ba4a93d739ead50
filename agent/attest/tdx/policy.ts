/** The part of the policy that is about TDX. Every field is mandatory: what is not checked says so, with the reason. */
import * as z from "zod";
import { anyOfHex, hexBytes, moment, orUnchecked } from "../policy-fields.ts";
import { POLICY_ATTRIBUTES } from "./attributes.ts";
import { TCB_STATUS } from "./tcb.ts";

/** Intel's own root; or one named by digest, for a twin: no release policy has that. */
const root = z.union([
  z.literal("intel"),
  z.strictObject({ sha256: hexBytes(32), reason: z.string().min(3).max(500) }),
]);

/** Words that never let a platform in, whatever a policy says. */
const acceptable = TCB_STATUS.filter(
  (status): status is Exclude<typeof status, "Revoked" | "NotSupported"> =>
    status !== "Revoked" && status !== "NotSupported",
);

const attribute = z.enum(POLICY_ATTRIBUTES);
const register = orUnchecked(anyOfHex(48));
const noneOr48 = z.union([z.literal("none"), anyOfHex(48)]);

export const tdxPolicy = z.strictObject({
  root,
  tcb: z.strictObject({
    accepted: z.array(z.enum(acceptable)).min(1),
    /** The date of the TCB level: what was known by then is mended. */
    minimumDate: orUnchecked(moment),
    /** Below it Intel's documents rate by an older TCB recovery than they could. */
    minimumEvaluationDataNumber: z
      .int()
      .min(1)
      .max(2 ** 31),
    /** Security advisories that may be open for an accepted TCB. */
    advisories: orUnchecked(z.strictObject({ accepted: z.array(z.string().max(40)).max(1024) })),
  }),
  /** CRLs, TCB info or QE identity from before it are refused as rolled back (Intel's CRL number never rises). */
  collateral: orUnchecked(z.strictObject({ issuedSince: moment })),
  platform: z.strictObject({
    /** By PPID, from the PCK certificate: only these machines. */
    allowed: orUnchecked(anyOfHex(16)),
    denied: z.array(hexBytes(16)).max(100_000),
    configuration: orUnchecked(
      z.strictObject({ allowed: z.array(z.enum(["dynamicPlatform", "cachedKeys", "smtEnabled"])).max(3) }),
    ),
  }),
  /** DEBUG is in no policy: a TD that its host may read is refused. */
  attributes: z.strictObject({ required: z.array(attribute), allowed: z.array(attribute) }),
  /** Extended features that the TD may use, beside x87 and SSE. */
  xfam: z.strictObject({ allowed: z.string().regex(/^0x[0-9a-f]{16}$/) }),
  mrSeam: register,
  mrTd: register,
  /** "initdata": the digest of the initdata that the caller expects. */
  mrConfigId: orUnchecked(z.union([z.literal("initdata"), anyOfHex(48)])),
  mrOwner: register,
  mrOwnerConfig: register,
  rtmr: z.tuple([register, register, register, register]),
  /** TDs that may migrate this one, and read it for that. */
  serviceTd: noneOr48,
  /** Devices that are assigned to the TD. */
  devices: noneOr48,
  /** "replay": the evidence brings an event log, and it leads to the RTMRs. */
  eventLog: orUnchecked(z.literal("replay")),
});

export type TdxPolicy = z.infer<typeof tdxPolicy>;

/** SHA-256 of the DER of "Intel SGX Root CA". */
export const INTEL_ROOT = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";

export function trustedRoot({ root: named }: TdxPolicy): string {
  return named === "intel" ? INTEL_ROOT : named.sha256;
}
