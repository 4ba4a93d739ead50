/**
 * The measured configuration: a file of the image's verity root, so the launch measurement covers it. It holds what is
 * the same for every machine that runs this image; what a single machine is comes by initdata.
 */
import { z } from "zod";
import { type DocumentKind, parseDocument } from "./document.ts";

/** Its place in the image. */
export const MEASURED_PATH = "/usr/lib/sealet/agent.json";

const port = z.int().min(1).max(65535);

const schema = z.strictObject({
  version: z.literal(1),
  logLevel: z.enum(["error", "warn", "info", "debug"]),
  /** The node API for the control plane. */
  api: z.strictObject({ port }),
  stateDisk: z.strictObject({ minimumBytes: z.int().min(64 * 1024 * 1024) }),
});

export type MeasuredConfiguration = Readonly<z.infer<typeof schema>>;

const KIND: DocumentKind = { what: MEASURED_PATH, code: "CONFIG_INVALID", maxBytes: 64 * 1024 };

/** @throws CONFIG_INVALID with every problem */
export function parseMeasured(bytes: Uint8Array): MeasuredConfiguration {
  return parseDocument(schema, bytes, KIND);
}
