/**
 * Initdata: which node of which cluster this machine is, and which KMS it may ask. The launch binds its digest (SNP
 * HOST_DATA, TDX MRCONFIGID), so the host can withhold it, but not change it. The format is Confidential Containers'.
 * @see https://github.com/confidential-containers/trustee/blob/main/kbs/docs/initdata.md
 */
import { createHash } from "node:crypto";
import { parse } from "smol-toml";
import { z } from "zod";
import { parseEnvelope } from "../attest/dsse.ts";
import { SealetError, reasonOf } from "../error.ts";
import { type DocumentKind, checkDocument, decodeText, parseDocument } from "./document.ts";
import { type Enrolment, parseEnrolment } from "./enrolment.ts";
import { clusterName, endpoint, hex32, nodeName } from "./names.ts";

export const MAX_INITDATA_BYTES = 64 * 1024;
const KEY = "sealet.json";

const envelope = z.strictObject({
  payloadType: z.string().max(200),
  payload: z.string().max(16_384),
  signatures: z.array(z.strictObject({ keyid: z.string().max(128), sig: z.string().max(256) })).max(16),
});

const body = z.strictObject({
  cluster: clusterName,
  node: nodeName,
  kms: z.strictObject({
    endpoints: z.array(endpoint).min(1).max(16),
    spkiSha256: hex32,
  }),
  enrolment: envelope,
  stateDisk: z.strictObject({ serial: z.string().regex(/^[A-Za-z0-9_-]{1,20}$/, "not a disk serial") }),
});

const document = z.strictObject({
  version: z.literal("0.1.0"),
  algorithm: z.literal("sha384"),
  data: z.strictObject({ [KEY]: z.string() }),
});

const KIND: DocumentKind = { what: "initdata", code: "INITDATA_INVALID", maxBytes: MAX_INITDATA_BYTES };

export interface Initdata {
  readonly cluster: string;
  readonly node: string;
  readonly kms: { readonly endpoints: readonly string[]; readonly spkiSha256: Buffer };
  /** DSSE envelope (JSON), as the KMS wants it. */
  readonly enrolment: Buffer;
  /** What the enrolment claims; no signature was verified here. */
  readonly claimed: Enrolment;
  readonly stateDisk: { readonly serial: string };
}

/** @throws INITDATA_INVALID with every problem */
export function parseInitdata(bytes: Uint8Array): Initdata {
  const outer = checkDocument(document, parseToml(decodeText(bytes, KIND)), KIND);
  const inner = parseDocument(body, Buffer.from(outer.data[KEY]), { ...KIND, what: `initdata's ${KEY}` });
  const enrolment = Buffer.from(JSON.stringify(inner.enrolment));
  const claimed = claimsOf(enrolment);
  const mismatch = (["cluster", "node"] as const).find((field) => claimed[field] !== inner[field]);
  if (mismatch !== undefined)
    throw new SealetError("INITDATA_INVALID", `initdata and its enrolment name another ${mismatch}`, {
      predicate: mismatch,
      expected: inner[mismatch],
      found: claimed[mismatch],
    });
  return {
    cluster: inner.cluster,
    node: inner.node,
    kms: { endpoints: inner.kms.endpoints, spkiSha256: Buffer.from(inner.kms.spkiSha256, "hex") },
    enrolment,
    claimed,
    stateDisk: inner.stateDisk,
  };
}

export interface InitdataParts {
  readonly cluster: string;
  readonly node: string;
  readonly kms: { readonly endpoints: readonly string[]; readonly spkiSha256: Uint8Array };
  /** DSSE envelope (JSON). */
  readonly enrolment: Uint8Array;
  readonly stateDiskSerial?: string;
}

/** The document for a node: the same parts give the same bytes. @throws INITDATA_INVALID */
export function buildInitdata(parts: InitdataParts): Buffer {
  const json = JSON.stringify(
    {
      cluster: parts.cluster,
      node: parts.node,
      kms: {
        endpoints: parts.kms.endpoints,
        spkiSha256: Buffer.from(parts.kms.spkiSha256).toString("hex"),
      },
      enrolment: JSON.parse(Buffer.from(parts.enrolment).toString()) as unknown,
      stateDisk: { serial: parts.stateDiskSerial ?? "state" },
    },
    null,
    2,
  );
  // A literal string has no escapes (TOML 1.0): people can read it. What would end it early fails the check below.
  const toml = `version = "0.1.0"\nalgorithm = "sha384"\n\n[data]\n"${KEY}" = '''\n${json}\n'''\n`;
  const bytes = Buffer.from(toml);
  parseInitdata(bytes);
  return bytes;
}

export interface InitdataDigests {
  /** SNP HOST_DATA. */
  readonly sha256: Buffer;
  /** TDX MRCONFIGID. */
  readonly sha384: Buffer;
}

export function initdataDigests(bytes: Uint8Array): InitdataDigests {
  const digest = (algorithm: string) => createHash(algorithm).update(bytes).digest();
  return { sha256: digest("sha256"), sha384: digest("sha384") };
}

function parseToml(text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new SealetError("INITDATA_INVALID", "initdata is not TOML", { cause });
  }
}

function claimsOf(enrolment: Buffer): Enrolment {
  const parsed = parseEnvelope(enrolment, "enrolment");
  if (!parsed.ok) throw new SealetError("INITDATA_INVALID", `initdata's enrolment: ${parsed.refusal.why}`);
  try {
    return parseEnrolment(parsed.value.payload);
  } catch (cause) {
    throw new SealetError("INITDATA_INVALID", `initdata's enrolment: ${reasonOf(cause)}`, { cause });
  }
}
