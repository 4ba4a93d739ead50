/** The ACPI table that tells where a confidential VM's event log is. @see ACPI 6.5, §5.2.34 (CCEL) */
import { type Decoded, equalBytes, structure } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

const CCEL = structure("CCEL table", 56, [
  ["signature", 0, 4, "bytes"],
  ["length", 4, 4, "u32"],
  ["revision", 8, 1, "u8"],
  ["checksum", 9, 1, "u8"],
  ["oemId", 10, 6, "bytes"],
  ["oemTableId", 16, 8, "bytes"],
  ["oemRevision", 24, 4, "u32"],
  ["creatorId", 28, 4, "u32"],
  ["creatorRevision", 32, 4, "u32"],
  ["ccType", 36, 1, "u8"],
  ["ccSubtype", 37, 1, "u8"],
  ["reserved", 38, 2, "zero"],
  ["logAreaSize", 40, 8, "u64"],
  ["logAreaAddress", 48, 8, "u64"],
]);

const SIGNATURE = new TextEncoder().encode("CCEL");

/** @throws Malformed for another table, a wrong length or checksum */
export function parseCcelTable(bytes: Uint8Array): Decoded<typeof CCEL.rows> {
  const table = CCEL.decode(bytes);
  if (!equalBytes(table.signature, SIGNATURE))
    throw new Malformed("UNEXPECTED", CCEL.name, 0, "not a CCEL table");
  if (table.length !== CCEL.size)
    throw new Malformed("UNEXPECTED", CCEL.name, 4, `${table.length} bytes declared`);
  if ((bytes.reduce((sum, byte) => sum + byte, 0) & 0xff) !== 0)
    throw new Malformed("UNEXPECTED", CCEL.name, 9, "checksum is wrong");
  return table;
}
