/**
 * The binary LUKS2 header, read strictly from bytes in memory. Tells damage (checksums, copies that disagree) from a
 * header that is whole; what a whole one may say is luks2-profile.ts's. Never touches a disk.
 * @see LUKS2 On-Disk Format Specification 1.1.3, §2.1 (all integers big-endian)
 */
import { createHash } from "node:crypto";

import { isZero } from "../attest/bytes.ts";
import { SealetError } from "../error.ts";
import { HEADER_BYTES, LUKS2_COPY_BYTES } from "./layout.ts";

type Kind = "magic" | "u16" | "u64" | "ascii" | "bytes" | "checksum" | "zero";

/** Rows tile the 4096 bytes exactly (a test says so). */
export const LUKS2_BINARY = [
  ["magic", 0, 6, "magic"],
  ["version", 6, 2, "u16"],
  ["hdr_size", 8, 8, "u64"],
  ["seqid", 16, 8, "u64"],
  ["label", 24, 48, "zero"], // sealet sets no label
  ["csum_alg", 72, 32, "ascii"],
  ["salt", 104, 64, "bytes"],
  ["uuid", 168, 40, "ascii"],
  ["subsystem", 208, 48, "zero"],
  ["hdr_offset", 256, 8, "u64"],
  ["padding", 264, 184, "zero"],
  ["csum", 448, 64, "checksum"],
  ["padding4096", 512, 3584, "zero"],
] as const satisfies readonly (readonly [string, number, number, Kind])[];

export const LUKS2_BINARY_BYTES = 4096;
const CHECKSUM = { offset: 448, bytes: 64, digestBytes: 32 } as const;
const MAGICS = [Buffer.from("LUKS\xba\xbe", "latin1"), Buffer.from("SKUL\xba\xbe", "latin1")] as const;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface Luks2Header {
  readonly uuid: string;
  readonly seqid: bigint;
  /** The JSON area's text, the same in both copies. */
  readonly json: string;
}

const damaged = (why: string): SealetError =>
  new SealetError("DISK_DAMAGED", `The LUKS2 header is damaged: ${why}.`);
const outside = (field: string, expected: string, found: string): SealetError =>
  new SealetError("HEADER_PROFILE", `The LUKS2 header's ${field} is not what sealet writes.`, {
    expected,
    found,
  });

export function hasLuksMagic(bytes: Uint8Array): boolean {
  return MAGICS[0].equals(bytes.subarray(0, 6));
}

/**
 * @param bytes HEADER_BYTES from the start of the disk
 * @throws DISK_DAMAGED a copy's magic or checksum is wrong, or the copies disagree
 * @throws HEADER_PROFILE a whole header says what sealet never writes
 */
export function parseLuks2Header(bytes: Buffer): Luks2Header {
  if (bytes.length !== HEADER_BYTES) throw damaged(`${bytes.length} bytes instead of ${HEADER_BYTES}`);
  // Damage of either copy is told before anything that a whole copy says.
  for (const index of [0, 1] as const) checkIntact(copyOf(bytes, index), index);
  const primary = readCopy(copyOf(bytes, 0), 0);
  const secondary = readCopy(copyOf(bytes, 1), 1);
  if (
    primary.seqid !== secondary.seqid ||
    primary.uuid !== secondary.uuid ||
    primary.json !== secondary.json
  ) {
    throw damaged("its two copies disagree");
  }
  return primary;
}

const NAMES = ["primary", "secondary"] as const;

function copyOf(bytes: Buffer, index: 0 | 1): Buffer {
  return bytes.subarray(index * LUKS2_COPY_BYTES, (index + 1) * LUKS2_COPY_BYTES);
}

function checkIntact(copy: Buffer, index: 0 | 1): void {
  if (!MAGICS[index].equals(copy.subarray(0, 6))) throw damaged(`no ${NAMES[index]} copy`);
  const hash = createHash("sha256")
    .update(copy.subarray(0, CHECKSUM.offset))
    .update(Buffer.alloc(CHECKSUM.bytes))
    .update(copy.subarray(CHECKSUM.offset + CHECKSUM.bytes))
    .digest();
  const stored = copy.subarray(CHECKSUM.offset, CHECKSUM.offset + CHECKSUM.digestBytes);
  if (!hash.equals(stored)) throw damaged(`the ${NAMES[index]} copy's checksum is wrong`);
}

function readCopy(copy: Buffer, index: 0 | 1): Luks2Header {
  const equal = (field: string, found: bigint | number | string, expected: bigint | number | string) => {
    if (found !== expected) throw outside(`${NAMES[index]} ${field}`, String(expected), printable(found));
  };
  for (const [field, offset, length, kind] of LUKS2_BINARY) {
    if (kind === "zero" && !isZero(copy.subarray(offset, offset + length))) {
      throw outside(`${NAMES[index]} ${field}`, "zero", "something else");
    }
  }
  equal("version", copy.readUInt16BE(6), 2);
  equal("size", copy.readBigUInt64BE(8), BigInt(LUKS2_COPY_BYTES));
  equal("checksum algorithm", padded(copy.subarray(72, 104)) ?? "unterminated", "sha256");
  equal("offset", copy.readBigUInt64BE(256), BigInt(index * LUKS2_COPY_BYTES));
  if (!isZero(copy.subarray(CHECKSUM.offset + CHECKSUM.digestBytes, CHECKSUM.offset + CHECKSUM.bytes))) {
    throw outside(`${NAMES[index]} checksum's tail`, "zero", "something else");
  }
  const uuid = padded(copy.subarray(168, 208));
  if (uuid === undefined || !UUID.test(uuid)) {
    throw outside(`${NAMES[index]} uuid`, "a lower-case UUID", printable(uuid ?? "unterminated"));
  }
  const json = padded(copy.subarray(LUKS2_BINARY_BYTES));
  if (json === undefined) throw outside(`${NAMES[index]} JSON area`, "ASCII, then zeros", "something else");
  return { uuid, seqid: copy.readBigUInt64BE(16), json };
}

/** Printable ASCII, ended by a zero, and zeros to the field's end; undefined for anything else. */
function padded(field: Buffer): string | undefined {
  const end = field.indexOf(0);
  if (end < 0 || !isZero(field.subarray(end))) return undefined;
  const text = field.subarray(0, end);
  return text.every((byte) => byte >= 0x20 && byte < 0x7f) ? text.toString("latin1") : undefined;
}

function printable(value: bigint | number | string): string {
  return String(value)
    .replaceAll(/[^\x20-\x7e]/g, "?")
    .slice(0, 80);
}
