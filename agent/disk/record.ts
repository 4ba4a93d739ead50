/**
 * The seal record: what a state disk says of itself, authenticated by the KMS's key together with the LUKS2 header.
 * Two slots, written in turn by the epoch's parity, so that a torn write leaves the record before it. The checksum finds
 * torn writes without a key; only the MAC makes anything trustworthy.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

import { isZero } from "../attest/bytes.ts";
import { frame } from "../attest/report-data.ts";
import { SealetError } from "../error.ts";
import { type Geometry, RECORD_SLOT_BYTES } from "./layout.ts";

type Kind = "magic" | "u8" | "u16" | "u32" | "u64" | "bytes" | "zero";

export const RECORD_BYTES = 512;

/** Little-endian. Rows tile the 512 bytes exactly (a test says so); reserved bytes are zero, and checked. */
export const RECORD = [
  ["magic", 0, 8, "magic"],
  ["version", 8, 2, "u16"],
  ["kind", 10, 1, "u8"],
  ["initialised", 11, 1, "u8"],
  ["generation", 12, 4, "u32"],
  ["epoch", 16, 8, "u64"],
  ["uuid", 24, 16, "bytes"],
  ["binding", 40, 32, "bytes"],
  ["headerDigest", 72, 32, "bytes"],
  ["diskBytes", 104, 8, "u64"],
  ["dataSectors", 112, 8, "u64"],
  ["metadataSectors", 120, 4, "u32"],
  ["regionSectors", 124, 4, "u32"],
  ["reserved", 128, 320, "zero"],
  ["mac", 448, 32, "bytes"],
  ["checksum", 480, 32, "bytes"],
] as const satisfies readonly (readonly [string, number, number, Kind])[];

const MAGIC = Buffer.from("SEALETRC", "latin1");
const VERSION = 1;
const KINDS = { 1: "intent", 2: "sealed" } as const;
const MAC = { offset: 448, bytes: 32 } as const;
const CHECKSUM = { offset: 480, bytes: 32 } as const;

export interface SealRecord {
  /** "intent": a first format begins; "sealed": the disk is whole. */
  readonly kind: "intent" | "sealed";
  readonly uuid: string;
  readonly generation: number;
  /** 0 for an intent. */
  readonly epoch: bigint;
  /** Which node of which cluster: see `bindingOf`. */
  readonly binding: Buffer;
  /** SHA-256 of the header bytes; zeros for an intent. */
  readonly headerDigest: Buffer;
  readonly diskBytes: bigint;
  /** Zeros for an intent. */
  readonly geometry: Geometry;
  /** No sector of the file system is without a tag any more: dm-clone is not needed. */
  readonly initialised: boolean;
}

/** A record as read, with its MAC still unchecked. */
export interface StoredRecord extends SealRecord {
  readonly mac: Buffer;
  /** What the MAC covers of the record. */
  readonly signed: Buffer;
}

/** @returns 32 bytes that tell this node of this cluster from every other */
export function bindingOf(cluster: string, node: string): Buffer {
  const framed = frame(Buffer.from("sealet/v1/node"), Buffer.from(cluster), Buffer.from(node));
  return createHash("sha256").update(framed).digest();
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/**
 * @param header the header bytes; empty for an intent
 * @param key the KMS's header MAC key
 */
export function encodeRecord(record: SealRecord, header: Uint8Array, key: Uint8Array): Buffer {
  const bytes = Buffer.alloc(RECORD_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt16LE(VERSION, 8);
  bytes.writeUInt8(record.kind === "intent" ? 1 : 2, 10);
  bytes.writeUInt8(record.initialised ? 1 : 0, 11);
  bytes.writeUInt32LE(record.generation, 12);
  bytes.writeBigUInt64LE(record.epoch, 16);
  Buffer.from(record.uuid.replaceAll("-", ""), "hex").copy(bytes, 24);
  record.binding.copy(bytes, 40);
  record.headerDigest.copy(bytes, 72);
  bytes.writeBigUInt64LE(record.diskBytes, 104);
  bytes.writeBigUInt64LE(BigInt(record.geometry.dataSectors), 112);
  bytes.writeUInt32LE(record.geometry.metadataSectors, 120);
  bytes.writeUInt32LE(record.geometry.regionSectors, 124);
  macOf(bytes.subarray(0, MAC.offset), header, key).copy(bytes, MAC.offset);
  sha256(bytes.subarray(0, CHECKSUM.offset)).copy(bytes, CHECKSUM.offset);
  return bytes;
}

/** A record as a slot takes it: in a block of its own, zeros after it. */
export function blockOf(record: Buffer): Buffer {
  const block = Buffer.alloc(RECORD_SLOT_BYTES);
  record.copy(block);
  return block;
}

/** What a slot holds. "torn": not zero, and no whole record: a write that was cut, or damage, or another's data. */
export type Slot =
  | { readonly kind: "empty" }
  | { readonly kind: "torn"; readonly ours: boolean }
  | { readonly kind: "record"; readonly record: StoredRecord };

/**
 * @param bytes the slot's whole block
 * @throws HEADER_TAMPERED a record with a right checksum says what sealet never writes
 */
export function readSlot(bytes: Buffer): Slot {
  if (isZero(bytes)) return { kind: "empty" };
  const ours = MAGIC.equals(bytes.subarray(0, MAGIC.length));
  const sum = bytes.subarray(CHECKSUM.offset, CHECKSUM.offset + CHECKSUM.bytes);
  if (!ours || !sum.equals(sha256(bytes.subarray(0, CHECKSUM.offset)))) return { kind: "torn", ours };
  if (!isZero(bytes.subarray(RECORD_BYTES))) throw invalid("is followed by data");
  return { kind: "record", record: decode(bytes.subarray(0, RECORD_BYTES)) };
}

function invalid(why: string): SealetError {
  return new SealetError("HEADER_TAMPERED", `The disk's seal record ${why}.`);
}

function decode(bytes: Buffer): StoredRecord {
  for (const [field, offset, length, kind] of RECORD) {
    if (kind === "zero" && !isZero(bytes.subarray(offset, offset + length))) {
      throw invalid(`has data in ${field}`);
    }
  }
  const version = bytes.readUInt16LE(8);
  if (version !== VERSION) throw invalid(`has version ${version}`);
  const kindByte = bytes.readUInt8(10);
  if (kindByte !== 1 && kindByte !== 2) throw invalid(`is of kind ${kindByte}`);
  const initialised = bytes.readUInt8(11);
  if (initialised > 1) throw invalid(`has initialised ${initialised}`);
  const dataSectors = bytes.readBigUInt64LE(112);
  if (dataSectors > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid("has an impossible size");
  const record: StoredRecord = {
    kind: KINDS[kindByte],
    uuid: uuidOf(bytes.subarray(24, 40)),
    generation: bytes.readUInt32LE(12),
    epoch: bytes.readBigUInt64LE(16),
    binding: copy(bytes.subarray(40, 72)),
    headerDigest: copy(bytes.subarray(72, 104)),
    diskBytes: bytes.readBigUInt64LE(104),
    geometry: {
      dataSectors: Number(dataSectors),
      metadataSectors: bytes.readUInt32LE(120),
      regionSectors: bytes.readUInt32LE(124),
    },
    initialised: initialised === 1,
    mac: copy(bytes.subarray(MAC.offset, MAC.offset + MAC.bytes)),
    signed: copy(bytes.subarray(0, MAC.offset)),
  };
  if ((record.kind === "intent") !== (record.epoch === 0n))
    throw invalid("has an epoch that is not its kind's");
  if (record.kind === "intent" && !isZero(bytes.subarray(112, 128)))
    throw invalid("has a geometry too early");
  return record;
}

/** The record that counts, of both slots. */
export type Current =
  | { readonly kind: "none" }
  | { readonly kind: "damaged" }
  | { readonly kind: "record"; readonly record: StoredRecord };

/**
 * @throws HEADER_TAMPERED the slots hold whole records that no history of writes leaves behind
 */
export function currentRecord(slots: readonly [Slot, Slot]): Current {
  const records = slots.flatMap((slot) => (slot.kind === "record" ? [slot.record] : []));
  slots.forEach((slot, index) => {
    if (slot.kind === "record" && slot.record.epoch % 2n !== BigInt(index)) {
      throw invalid(`of epoch ${slot.record.epoch} is in slot ${index}`);
    }
  });
  const [first, second] = records;
  if (first === undefined) {
    return { kind: slots.some((slot) => slot.kind === "torn" && slot.ours) ? "damaged" : "none" };
  }
  if (second === undefined) return { kind: "record", record: first };
  const [older, newer] = first.epoch < second.epoch ? [first, second] : [second, first];
  if (newer.epoch !== older.epoch + 1n) {
    throw invalid(`of epoch ${newer.epoch} stands beside one of epoch ${older.epoch}`);
  }
  if (
    newer.uuid !== older.uuid ||
    !newer.binding.equals(older.binding) ||
    newer.generation < older.generation
  ) {
    throw invalid("is another disk's than the one beside it");
  }
  return { kind: "record", record: newer };
}

/** The slot that a record of this epoch is written to. */
export function slotOf(epoch: bigint): 0 | 1 {
  return epoch % 2n === 0n ? 0 : 1;
}

/**
 * In constant time.
 * @throws HEADER_TAMPERED
 */
export function checkMac(record: StoredRecord, header: Uint8Array, key: Uint8Array): void {
  if (timingSafeEqual(macOf(record.signed, header, key), record.mac)) return;
  throw new SealetError(
    "HEADER_TAMPERED",
    "The MAC over LUKS2 header and seal record is not the one that the KMS's key gives.",
  );
}

function macOf(signed: Uint8Array, header: Uint8Array, key: Uint8Array): Buffer {
  const label = Buffer.from("sealet/v1/seal-record");
  return createHmac("sha512", key)
    .update(frame(label, header, signed))
    .digest()
    .subarray(0, MAC.bytes);
}

function copy(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}

function uuidOf(bytes: Buffer): string {
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
