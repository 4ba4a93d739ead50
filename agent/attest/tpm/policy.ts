/** The part of a policy that is about a TPM's PCRs. The quote has to be of exactly those that are named. */
import * as z from "zod";
import { anyOfHex, orUnchecked } from "../policy-fields.ts";

const pcr = z.string().regex(/^(?:[0-9]|1[0-9]|2[0-3])$/);

const bankOf = <const Bank extends "sha256" | "sha384">(bank: Bank, size: number) =>
  z.strictObject({
    bank: z.literal(bank),
    /** By number; a PCR that is quoted and not looked at says why. */
    pcrs: z.record(pcr, orUnchecked(anyOfHex(size))).refine((pcrs) => Object.keys(pcrs).length > 0, "no PCR"),
  });

export const tpmPolicy = z.discriminatedUnion("bank", [bankOf("sha256", 32), bankOf("sha384", 48)]);
export type TpmPolicy = z.infer<typeof tpmPolicy>;
