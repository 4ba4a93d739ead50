/**
 * The enrolment: an operator's signed word that a node of this name and role belongs to this cluster. Signing is the
 * command line's, verifying the KMS's; whoever reads one without a key learns only what the file claims.
 */
import { z } from "zod";
import { type DocumentKind, parseDocument } from "./document.ts";
import { clusterName, nodeName, role } from "./names.ts";

/** DSSE payload type. */
export const ENROLMENT_TYPE = "application/vnd.sealet.enrolment+json";

export const MAX_ENROLMENT_BYTES = 8 * 1024;

const schema = z.strictObject({
  cluster: clusterName,
  node: nodeName,
  role,
  /** Makes each enrolment its own: one of a removed node does not fit its successor. */
  serial: z.string().regex(/^[0-9a-f]{32}$/, "not 32 hex digits"),
  created: z.iso.datetime(),
});

export type Enrolment = Readonly<z.infer<typeof schema>>;

const KIND: DocumentKind = { what: "enrolment", code: "ENROLMENT_INVALID", maxBytes: MAX_ENROLMENT_BYTES };

/** @throws ENROLMENT_INVALID */
export function parseEnrolment(payload: Uint8Array): Enrolment {
  return parseDocument(schema, payload, KIND);
}
