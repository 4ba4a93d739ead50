/** The node record: what the KMS keeps of a node. Stored as JSON; read back as strictly as if a stranger had sent it. */
import { z } from "zod";
import { type DocumentKind, parseDocument } from "../config/document.ts";
import { nodeName, role } from "../config/names.ts";

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`), `not ${bytes} bytes as hex`);
const uuid = z.uuid().regex(/^[0-9a-f-]+$/);
const unixMs = z.int().min(0);

const lease = z.strictObject({
  id: hex(16),
  /** SHA-256 of the holder's SPKI. */
  holder: hex(32),
  expires: unixMs,
  /** The epoch of this unsealing is on the disk. */
  committed: z.boolean(),
});

const schema = z.strictObject({
  /** Made by the KMS when the node was added; the node's keys are derived from it, not from its name. */
  id: hex(16),
  name: nodeName,
  role,
  enrolmentSha256: hex(32),
  initdataSha256: hex(32),
  initdataSha384: hex(48),
  disk: z.discriminatedUnion("state", [
    z.strictObject({ state: z.literal("expects-blank"), uuid: z.literal("") }),
    z.strictObject({ state: z.literal("formatting"), uuid }),
    z.strictObject({ state: z.literal("sealed"), uuid }),
  ]),
  generation: z.int().min(1),
  /** The last one committed; 0 before the first. */
  epoch: z.int().min(0),
  lease: lease.nullable(),
  /** Which part of the cluster's pod network is the node's. */
  podNetwork: z.int().min(0),
  created: unixMs,
  lastUnseal: unixMs.nullable(),
});

export type NodeRecord = Readonly<z.infer<typeof schema>>;
export type LeaseRecord = Readonly<z.infer<typeof lease>>;

const KIND: DocumentKind = { what: "node record", code: "STORE_FAILED", maxBytes: 16 * 1024 };

/** @throws STORE_FAILED */
export function parseRecord(json: string): NodeRecord {
  return parseDocument(schema, Buffer.from(json), KIND);
}

export function isLive(held: LeaseRecord | null, now: number): boolean {
  return held !== null && now < held.expires;
}
