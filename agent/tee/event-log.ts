/**
 * The firmware's event log of a TDX guest (CCEL), which the kernel keeps as ACPI data. It is the host's and the guest's
 * word; the verifier replays it to the quote's registers.
 * @see ACPI 6.5 §5.2.34, drivers/acpi/sysfs.c
 */
import { readFile } from "node:fs/promises";
import { parseEventLog } from "../attest/eventlog/log.ts";

export const CCEL = "/sys/firmware/acpi/tables/data/CCEL";

/** The log without the area behind it that firmware left unused; empty where there is none. */
export async function readEventLog(path: string = CCEL): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch {
    return Buffer.alloc(0); // evidence is worth something without; a policy that demands the log says that it is missing
  }
  return bytes.subarray(0, endOf(bytes));
}

/** What is no log goes on as it is: that is the verifier's to say. */
function endOf(bytes: Buffer): number {
  try {
    const last = parseEventLog(bytes).events.at(-1);
    return last === undefined ? bytes.length : last.data.byteOffset + last.data.length - bytes.byteOffset;
  } catch {
    return bytes.length;
  }
}
