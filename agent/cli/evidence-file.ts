/**
 * Evidence as a file, for commands that work offline. Its kind is told by its bytes: a raw report or quote, or JSON as
 * `sealet evidence -o json` prints it.
 */
import type { Evidence } from "../attest/appraise.ts";
import { fromHex } from "../attest/bytes.ts";
import { attempt, describeRefusal } from "../attest/malformed.ts";
import { SealetError } from "../error.ts";
import { readBytes } from "./files.ts";

const SNP_REPORT_SIZE = 1184;
const TDX_TEE_TYPE = 0x81;
const NONE = new Uint8Array(0);

/** What raw bytes are; undefined for what is neither. */
function teeOf(bytes: Uint8Array): "sev-snp" | "tdx" | undefined {
  if (bytes.length === SNP_REPORT_SIZE) return "sev-snp";
  if (bytes.length < 48) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint16(0, true);
  return (version === 4 || version === 5) && view.getUint32(4, true) === TDX_TEE_TYPE ? "tdx" : undefined;
}

export interface EvidenceParts {
  /** Certificate table of an extended SNP report. */
  readonly auxiliary?: Uint8Array | undefined;
  readonly eventLog?: Uint8Array | undefined;
}

/** @throws EVIDENCE_MALFORMED */
export function parseEvidence(bytes: Uint8Array, parts: EvidenceParts = {}): Evidence {
  if (bytes[0] === 0x7b) return parseEvidenceJson(bytes, parts);
  const tee = teeOf(bytes);
  if (tee === undefined)
    throw new SealetError(
      "EVIDENCE_MALFORMED",
      `${bytes.length} bytes are neither an SNP report (${SNP_REPORT_SIZE} bytes) nor a TDX quote of version 4 or 5`,
    );
  return { tee, report: bytes, auxiliary: parts.auxiliary ?? NONE, eventLog: parts.eventLog ?? NONE };
}

function malformed(why: string): never {
  throw new SealetError(
    "EVIDENCE_MALFORMED",
    `The evidence is not as 'sealet evidence -o json' prints it: ${why}`,
  );
}

function parseEvidenceJson(bytes: Uint8Array, parts: EvidenceParts): Evidence {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return malformed("no JSON");
  }
  if (typeof value !== "object" || value === null) return malformed("no object");
  const fields = new Map<string, unknown>(Object.entries(value));
  const part = (name: string): Uint8Array => {
    const text = fields.get(name) ?? "";
    if (typeof text !== "string") return malformed(`${name} is no text`);
    const decoded = attempt(() => fromHex(text, name));
    return decoded.ok ? decoded.value : malformed(describeRefusal(decoded.refusal));
  };
  const tee = fields.get("tee");
  if (typeof tee !== "string") return malformed("no tee");
  return {
    tee,
    report: part("report"),
    auxiliary: parts.auxiliary ?? part("auxiliary"),
    eventLog: parts.eventLog ?? part("eventLog"),
  };
}

/** DER of a file that has it as such or as PEM. */
export async function readDer(path: string): Promise<Uint8Array> {
  const bytes = readBytes(path);
  if (bytes[0] === 0x30) return bytes;
  const { splitPem } = await import("../attest/base64.ts");
  const blocks = attempt(() => splitPem(new TextDecoder("latin1").decode(bytes), path));
  const first = blocks.ok ? blocks.value[0] : undefined;
  if (first === undefined) throw new SealetError("CONFIG_INVALID", `${path} is neither DER nor PEM`);
  return first.der;
}
