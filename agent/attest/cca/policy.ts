/** The part of a policy that is about Arm CCA realms. A platform is trusted by its key, which its maker publishes. */
import * as z from "zod";
import { anyOfHex, hexBytes, orUnchecked } from "../policy-fields.ts";

const digest = orUnchecked(anyOfHex(32, 48, 64));

export const ccaPolicy = z.strictObject({
  /** By instance id: the platform's attestation key (CPAK) as an uncompressed point of P-384. */
  platforms: z
    .array(z.strictObject({ instanceId: hexBytes(33), key: z.string().regex(/^04[0-9a-f]{192}$/) }))
    .min(1)
    .max(10_000),
  implementationId: orUnchecked(anyOfHex(32)),
  /** Configuration of the platform; which of its bits mean what is its maker's. */
  config: orUnchecked(z.strictObject({ anyOf: z.array(z.string().regex(/^(?:[0-9a-f]{2})*$/)).min(1) })),
  /** Each component that the platform measured has to be one of these. */
  softwareComponents: orUnchecked(
    z
      .array(z.strictObject({ measurement: hexBytes(32, 48, 64), signerId: hexBytes(32, 48, 64) }))
      .min(1)
      .max(256),
  ),
  /** "secured" is the only lifecycle in which a platform's word counts; a maker's debug states are refused. */
  lifecycle: z.literal("secured"),
  initialMeasurement: digest,
  extensibleMeasurements: z.tuple([digest, digest, digest, digest]),
  /** "initdata": SHA-384 of the initdata, then zeros; else values of 64 bytes. */
  personalization: orUnchecked(z.union([z.literal("initdata"), anyOfHex(64)])),
});

export type CcaPolicy = z.infer<typeof ccaPolicy>;
