/**
 * The part of a policy that is about Azure's paravisor. What the TEE measures there is Microsoft's paravisor; the guest's
 * operating system is in the PCRs of its virtual TPM, so both are demanded.
 */
import * as z from "zod";
import { orUnchecked } from "../policy-fields.ts";
import { snpPolicy } from "../snp/policy.ts";
import { tdxPolicy } from "../tdx/policy.ts";
import { tpmPolicy } from "../tpm/policy.ts";

export const azurePolicy = z.strictObject({
  /** The paravisor as the hardware measures it. */
  hardware: z.strictObject({
    "sev-snp": z.union([snpPolicy, z.literal("denied")]),
    tdx: z.union([tdxPolicy, z.literal("denied")]),
  }),
  tpm: tpmPolicy,
  configuration: z.strictObject({
    secureBoot: orUnchecked(z.literal("enabled")),
    /** A serial console into the VM. */
    console: orUnchecked(z.literal("disabled")),
    /** State of the virtual TPM that is kept between boots. */
    tpmPersisted: orUnchecked(z.enum(["enabled", "disabled"])),
  }),
  /** Only these VMs, by vmUniqueId. */
  vms: orUnchecked(z.strictObject({ anyOf: z.array(z.uuid()).min(1).max(1024) })),
});

export type AzurePolicy = z.infer<typeof azurePolicy>;
