/**
 * What a disk is, told from bytes in memory without any key. Pure: reads nothing, decides nothing about what is done
 * (that is decision.ts). What the key will have to confirm (the MAC) is still open for "interrupted" and "sealed".
 */
import { SealetError, type Code } from "../error.ts";
import { nameContents } from "./blank.ts";
import { HEADER_AREA_BYTES, HEADER_BYTES, RECORD_OFFSETS, RECORD_SLOT_BYTES } from "./layout.ts";
import { hasLuksMagic } from "./luks2-header.ts";
import { checkLuks2Header } from "./luks2-profile.ts";
import { currentRecord, readSlot, sha256, type Slot, type StoredRecord } from "./record.ts";

export type Finding =
  | { readonly state: "blank" }
  | { readonly state: "interrupted"; readonly record: StoredRecord }
  | { readonly state: "sealed"; readonly record: StoredRecord; readonly header: Buffer }
  | { readonly state: "foreign" | "damaged" | "tampered" | "missing"; readonly error: SealetError };

/** Proof, or what was found where a blank disk has zeros. */
export type Blankness =
  { readonly blank: true } | { readonly blank: false; readonly offset: number; readonly why: string };

const STATE_OF = {
  DISK_DAMAGED: "damaged",
  HEADER_PROFILE: "tampered",
  HEADER_TAMPERED: "tampered",
} as const;

const finding = (code: Code, message: string, state: "foreign" | "damaged" | "tampered"): Finding => ({
  state,
  error: new SealetError(code, message),
});

/**
 * @param area the first HEADER_AREA_BYTES
 * @param blankness asked for only where there is no record: it costs many reads
 */
export async function classify(
  area: Buffer,
  diskBytes: number,
  blankness: () => Promise<Blankness>,
): Promise<Finding> {
  if (area.length !== HEADER_AREA_BYTES)
    throw new SealetError("INTERNAL", "The header area was read in part.");
  try {
    const current = currentRecord([slot(area, 0), slot(area, 1)]);
    switch (current.kind) {
      case "none":
        return await withoutRecord(area, blankness);
      case "damaged":
        return finding("DISK_DAMAGED", "Neither of the disk's seal records is whole.", "damaged");
      case "record":
        return withRecord(area, diskBytes, current.record);
      default:
        return current satisfies never;
    }
  } catch (thrown) {
    const state = thrown instanceof SealetError ? stateOf(thrown.code) : undefined;
    if (state === undefined || !(thrown instanceof SealetError)) throw thrown;
    return { state, error: thrown };
  }
}

function stateOf(code: Code): "damaged" | "tampered" | undefined {
  return code === "DISK_DAMAGED" || code === "HEADER_PROFILE" || code === "HEADER_TAMPERED"
    ? STATE_OF[code]
    : undefined;
}

function slot(area: Buffer, index: 0 | 1): Slot {
  const offset = RECORD_OFFSETS[index];
  return readSlot(area.subarray(offset, offset + RECORD_SLOT_BYTES));
}

async function withoutRecord(area: Buffer, blankness: () => Promise<Blankness>): Promise<Finding> {
  if (hasLuksMagic(area) && isOurHeader(area)) {
    return finding("DISK_DAMAGED", "The disk has sealet's LUKS2 header, but no seal record.", "damaged");
  }
  const found = await blankness();
  if (found.blank) return { state: "blank" };
  const name = nameContents(area) ?? "data of a kind that sealet does not know";
  const where = `first at byte ${found.offset}: ${found.why}`;
  return finding("DISK_FOREIGN", `The disk holds ${name} (${where}).`, "foreign");
}

function isOurHeader(area: Buffer): boolean {
  try {
    checkLuks2Header(area.subarray(0, HEADER_BYTES));
    return true;
  } catch {
    return false; // whatever it is, it is not blank: what follows refuses it
  }
}

function withRecord(area: Buffer, diskBytes: number, record: StoredRecord): Finding {
  if (record.kind === "intent") return { state: "interrupted", record };
  if (record.diskBytes > BigInt(diskBytes)) {
    const message = `The disk had ${record.diskBytes} bytes when it was sealed, and has ${diskBytes} now.`;
    return finding("DISK_DAMAGED", message, "damaged");
  }
  const header = Buffer.from(area.subarray(0, HEADER_BYTES));
  const { uuid } = checkLuks2Header(header);
  if (uuid !== record.uuid) {
    return finding("HEADER_TAMPERED", "LUKS2 header and seal record name different disks.", "tampered");
  }
  if (!sha256(header).equals(record.headerDigest)) {
    return finding(
      "HEADER_TAMPERED",
      "The LUKS2 header is whole, but not the one that was sealed.",
      "tampered",
    );
  }
  return { state: "sealed", record, header };
}
