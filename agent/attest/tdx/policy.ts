/**
 * The TDX part of a policy. Each field is mandatory: what is not to be checked says so, with the reason.
 */
import { z } from "zod";
import { TD_ATTRIBUTE, type TdAttribute } from "./attributes.ts";
import { TCB_STATUS } from "./tcb.ts";

const digest = (size: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * size}}$`), `not ${size} bytes as lower-case hex`);
const unchecked = z.strictObject({ unchecked: z.string().min(10, "a reason, please").max(500) });
const anyOf = (size: number) => z.strictObject({ anyOf: z.array(digest(size)).min(1).max(1024) });
const register = z.union([anyOf(48), unchecked]);
/** DEBUG is in no policy: a TD that its host may read is refused. */
const attribute = z.enum(
  Object.keys(TD_ATTRIBUTE).filter((name) => name !== "DEBUG") as [TdAttribute, ...TdAttribute[]],
);
const time = z.iso.datetime({ offset: false }).transform((text) => Date.parse(text));

/** Words that never let a platform in, whatever a policy says. */
const acceptable = TCB_STATUS.filter(
  (status): status is Exclude<typeof status, "Revoked" | "NotSupported"> =>
    status !== "Revoked" && status !== "NotSupported",
);

export const TdxPolicySchema = z.strictObject({
  /** SHA-256 of the DER of each root that is trusted; Intel's is 44a0196b…. */
  roots: z.array(digest(32)).min(1).max(8),
  tcb: z.strictObject({
    accepted: z.array(z.enum(acceptable)).min(1),
    minimumDate: z.union([time, unchecked]),
    minimumEvaluationDataNumber: z.int().min(1),
    /** Advisories that may be open for an accepted TCB. */
    advisories: z.union([z.strictObject({ accepted: z.array(z.string()).max(1024) }), unchecked]),
  }),
  platform: z.strictObject({
    /** PPIDs, from the PCK certificate. */
    allowed: z.union([anyOf(16), unchecked]),
    denied: z.array(digest(16)).max(4096),
    configuration: z.union([
      z.strictObject({ allowed: z.array(z.enum(["dynamicPlatform", "cachedKeys", "smtEnabled"])) }),
      unchecked,
    ]),
  }),
  td: z.strictObject({
    attributes: z.strictObject({ required: z.array(attribute), allowed: z.array(attribute) }),
    xfam: z.strictObject({ allowed: z.string().regex(/^0x[0-9a-f]{16}$/) }),
    mrSeam: register,
    mrTd: register,
    /** "initdata": SHA-384 of the node's initdata, which the caller states. */
    mrConfigId: z.union([z.literal("initdata"), anyOf(48), unchecked]),
    mrOwner: register,
    mrOwnerConfig: register,
    rtmr: z.tuple([register, register, register, register]),
    serviceTd: z.union([z.literal("none"), anyOf(48)]),
    devices: z.union([z.literal("none"), anyOf(48)]),
  }),
  /** "replay": the evidence brings an event log, and it must lead to the RTMRs. */
  eventLog: z.union([z.literal("replay"), unchecked]),
});

export type TdxPolicy = z.output<typeof TdxPolicySchema>;
export type Unchecked = z.output<typeof unchecked>;
