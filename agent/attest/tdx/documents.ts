/**
 * What Intel signs about platforms: TCB info v3, QE identity v2. Read only after their signature was found right. Keys
 * that are not known are passed over, because Intel adds some within a version; every key that a decision rests on is
 * mandatory here and has one form.
 *
 * @see Intel PCS API v4, "Get TDX TCB Info" (TcbInfoV3), "Get TDX QE Identity" (EnclaveIdentityV2)
 */
import * as z from "zod";
import { fromHex, utf8 } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

/** Status words of levels in TCB info; enclaves and TDX modules have fewer. */
const PLATFORM_STATUS = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const;
const MODULE_STATUS = ["UpToDate", "OutOfDate", "Revoked"] as const;

export type PlatformStatus = (typeof PLATFORM_STATUS)[number];
export type ModuleStatus = (typeof MODULE_STATUS)[number];

const hexBytes = (size: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-fA-F]{${2 * size}}$`))
    .transform((text): Uint8Array => fromHex(text));
/** ms since 1970. */
const time = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/)
  .transform((text, context) => {
    const ms = Date.parse(text);
    if (Number.isNaN(ms)) context.addIssue({ code: "custom", message: "no such time" });
    return ms;
  });
const svn16 = z.int().min(0).max(65535);
/** 16 of `{ svn, … }`, in a loop of our own: TCB info has hundreds of them, and schemas are slow. */
const components = z
  .custom<readonly unknown[]>((list) => Array.isArray(list) && list.length === 16)
  .transform((list, context): readonly number[] =>
    list.map((component, i) => {
      const value: unknown =
        typeof component === "object" && component !== null && "svn" in component ? component.svn : undefined;
      if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255) return value;
      context.addIssue({ code: "custom", path: [i, "svn"], message: "no SVN" });
      return 0;
    }),
  );
const advisories = z
  .array(z.string().regex(/^[A-Z0-9-]{1,40}$/))
  .max(256)
  .default([]);

const enclaveLevels = z
  .array(
    z
      .object({
        tcb: z.object({ isvsvn: svn16 }),
        tcbDate: time,
        tcbStatus: z.enum(MODULE_STATUS),
        advisoryIDs: advisories,
      })
      .transform(({ tcb, tcbDate, tcbStatus, advisoryIDs }) => ({
        isvSvn: tcb.isvsvn,
        tcbDate,
        status: tcbStatus,
        advisories: advisoryIDs,
      })),
  )
  .min(1)
  .max(64);

const moduleBase = { mrsigner: hexBytes(48), attributes: hexBytes(8), attributesMask: hexBytes(8) };

const TcbInfoSchema = z.object({
  id: z.literal("TDX"),
  version: z.literal(3),
  issueDate: time,
  nextUpdate: time,
  fmspc: hexBytes(6),
  pceId: hexBytes(2),
  tcbType: z.literal(0),
  tcbEvaluationDataNumber: z
    .int()
    .min(1)
    .max(2 ** 31),
  tdxModule: z.object(moduleBase),
  tdxModuleIdentities: z
    .array(
      z.object({ id: z.string().regex(/^TDX_[0-9A-Fa-f]{2}$/), ...moduleBase, tcbLevels: enclaveLevels }),
    )
    .max(256)
    .default([]),
  tcbLevels: z
    .array(
      z
        .object({
          tcb: z.object({ sgxtcbcomponents: components, pcesvn: svn16, tdxtcbcomponents: components }),
          tcbDate: time,
          tcbStatus: z.enum(PLATFORM_STATUS),
          advisoryIDs: advisories,
        })
        .transform(({ tcb, tcbDate, tcbStatus, advisoryIDs }) => ({
          sgx: tcb.sgxtcbcomponents,
          pceSvn: tcb.pcesvn,
          tdx: tcb.tdxtcbcomponents,
          tcbDate,
          status: tcbStatus,
          advisories: advisoryIDs,
        })),
    )
    .min(1)
    .max(256),
});

const QeIdentitySchema = z.object({
  id: z.literal("TD_QE"),
  version: z.literal(2),
  issueDate: time,
  nextUpdate: time,
  tcbEvaluationDataNumber: z
    .int()
    .min(1)
    .max(2 ** 31),
  miscselect: hexBytes(4),
  miscselectMask: hexBytes(4),
  attributes: hexBytes(16),
  attributesMask: hexBytes(16),
  mrsigner: hexBytes(32),
  isvprodid: svn16,
  tcbLevels: enclaveLevels,
});

export type TcbInfo = z.output<typeof TcbInfoSchema>;
export type TcbLevel = TcbInfo["tcbLevels"][number];
export type TdxModuleIdentity = TcbInfo["tdxModuleIdentities"][number];
export type QeIdentity = z.output<typeof QeIdentitySchema>;
export type EnclaveLevel = QeIdentity["tcbLevels"][number];

/** @throws Malformed */
export const parseTcbInfo = (body: Uint8Array): TcbInfo => parseDocument(TcbInfoSchema, body, "TCB info");
/** @throws Malformed */
export const parseQeIdentity = (body: Uint8Array): QeIdentity =>
  parseDocument(QeIdentitySchema, body, "QE identity");

function parseDocument<T>(schema: z.ZodType<T>, body: Uint8Array, what: string): T {
  const text = utf8(body, what);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Malformed("ENCODING", what, 0, "not JSON");
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Malformed(
    "UNEXPECTED",
    what,
    0,
    `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`,
  );
}
