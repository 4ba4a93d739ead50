/** What a twin is: its configuration file, and the part of it that a test may change while it runs. */
import { z } from "zod";
import { faultSchema } from "./faults.ts";

const hex = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`, "u"), `${bytes} bytes in hex`)
    .transform((text) => Buffer.from(text, "hex"));

const bits = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/u, "64 bits in hex")
  .transform(BigInt);
const svn = z.number().int().min(0).max(255).exactOptional();

const fields = {
  measurement: hex(48),
  /** SNP HOST_DATA. */
  hostData: hex(32),
  /** TDX MRCONFIGID. */
  configId: hex(48),
  /** SNP. */
  policy: bits,
  platformInfo: bits,
  /** The version of SNP reports; 0: the product's. */
  reportVersion: z.number().int(),
  /** Components that differ from those of an up-to-date machine. */
  tcb: z.strictObject({ fmc: svn, bootloader: svn, tee: svn, snp: svn, microcode: svn }),
  /** Whether the host hands out the certificate table. */
  certificates: z.boolean(),
};

/** What the launch measured, and what the machine is. */
const machineSchema = z.strictObject({
  measurement: fields.measurement.prefault("00".repeat(48)),
  hostData: fields.hostData.prefault("00".repeat(32)),
  configId: fields.configId.prefault("00".repeat(48)),
  policy: fields.policy.prefault("0x30000"),
  platformInfo: fields.platformInfo.prefault("0x25"),
  reportVersion: fields.reportVersion.prefault(0),
  tcb: fields.tcb.prefault({}),
  certificates: fields.certificates.prefault(true),
});

/** What a test changes of it. */
export const machineChangeSchema = z.strictObject({
  measurement: fields.measurement.exactOptional(),
  hostData: fields.hostData.exactOptional(),
  configId: fields.configId.exactOptional(),
  policy: fields.policy.exactOptional(),
  platformInfo: fields.platformInfo.exactOptional(),
  reportVersion: fields.reportVersion.exactOptional(),
  tcb: fields.tcb.exactOptional(),
  certificates: fields.certificates.exactOptional(),
});

export const configSchema = z.strictObject({
  tee: z.enum(["sev-snp", "tdx"]),
  product: z.enum(["Milan", "Genoa", "Turin"]).prefault("Genoa"),
  /** Which of the kernel's interfaces are there. */
  interfaces: z.array(z.enum(["device", "configfs-tsm"])).prefault(["device", "configfs-tsm"]),
  /** The folder with the CA's keys (test/twin/amd-ca.ts). */
  ca: z.string(),
  /** A machine: its chip. Two twins with the same name have the same one. */
  chip: z.string().prefault("twin"),
  /** The level that the kernel runs at: the driver's VMPCK and the floor of configfs-tsm. */
  vmpl: z.number().int().min(0).max(3).prefault(0),
  machine: machineSchema.prefault({}),
  /** A unix socket for tests. */
  control: z.string().optional(),
  faults: z.array(faultSchema).prefault([]),
  /** Where configfs is, for tests. */
  configfs: z.string().prefault("/sys/kernel/config"),
});

export type TwinConfig = z.output<typeof configSchema>;
/** As it stands in the file. */
export type TwinConfigFile = z.input<typeof configSchema>;
export type Machine = z.output<typeof machineSchema>;
