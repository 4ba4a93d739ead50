/**
 * TCG2 ("crypto-agile") event logs: a TPM's, and a CCEL of a TDX or other confidential VM. A log is the host's and the
 * guest's word: it is worth what its replay to a signed register makes of it.
 *
 * @see TCG PC Client Platform Firmware Profile 1.06, §10.2 (event structures), §10.4.5.1 (Spec ID event)
 */
import { equalBytes, isZero, Reader } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

/** The area that firmware reserves is 64 KiB to 1 MiB. */
const MAX_LOG_SIZE = 4 * 1024 * 1024;
const MAX_EVENTS = 16_384;
const MAX_ALGORITHMS = 8;
const MAX_DIGEST = 64;

/** TPM_ALG_ID of digests, TCG Algorithm Registry table 3. */
export const DIGEST = {
  sha1: { id: 0x0004, size: 20 },
  sha256: { id: 0x000b, size: 32 },
  sha384: { id: 0x000c, size: 48 },
  sha512: { id: 0x000d, size: 64 },
  sm3: { id: 0x0012, size: 32 },
} as const;
const KNOWN_SIZE = new Map<number, number>(Object.values(DIGEST).map(({ id, size }) => [id, size]));

export const EVENT = {
  EV_PREBOOT_CERT: 0x00000000,
  EV_POST_CODE: 0x00000001,
  EV_NO_ACTION: 0x00000003,
  EV_SEPARATOR: 0x00000004,
  EV_ACTION: 0x00000005,
  EV_EVENT_TAG: 0x00000006,
  EV_S_CRTM_CONTENTS: 0x00000007,
  EV_S_CRTM_VERSION: 0x00000008,
  EV_CPU_MICROCODE: 0x00000009,
  EV_PLATFORM_CONFIG_FLAGS: 0x0000000a,
  EV_TABLE_OF_DEVICES: 0x0000000b,
  EV_COMPACT_HASH: 0x0000000c,
  EV_IPL: 0x0000000d,
  EV_IPL_PARTITION_DATA: 0x0000000e,
  EV_NONHOST_CODE: 0x0000000f,
  EV_NONHOST_CONFIG: 0x00000010,
  EV_NONHOST_INFO: 0x00000011,
  EV_OMIT_BOOT_DEVICE_EVENTS: 0x00000012,
  EV_EFI_VARIABLE_DRIVER_CONFIG: 0x80000001,
  EV_EFI_VARIABLE_BOOT: 0x80000002,
  EV_EFI_BOOT_SERVICES_APPLICATION: 0x80000003,
  EV_EFI_BOOT_SERVICES_DRIVER: 0x80000004,
  EV_EFI_RUNTIME_SERVICES_DRIVER: 0x80000005,
  EV_EFI_GPT_EVENT: 0x80000006,
  EV_EFI_ACTION: 0x80000007,
  EV_EFI_PLATFORM_FIRMWARE_BLOB: 0x80000008,
  EV_EFI_HANDOFF_TABLES: 0x80000009,
  EV_EFI_PLATFORM_FIRMWARE_BLOB2: 0x8000000a,
  EV_EFI_HANDOFF_TABLES2: 0x8000000b,
  EV_EFI_VARIABLE_BOOT2: 0x8000000c,
  EV_EFI_HCRTM_EVENT: 0x80000010,
  EV_EFI_VARIABLE_AUTHORITY: 0x800000e0,
  EV_EFI_SPDM_FIRMWARE_BLOB: 0x800000e1,
  EV_EFI_SPDM_FIRMWARE_CONFIG: 0x800000e2,
} as const;
const EVENT_NAME = new Map<number, string>(Object.entries(EVENT).map(([name, type]) => [type, name]));

export function eventName(type: number): string {
  return EVENT_NAME.get(type) ?? `0x${type.toString(16).padStart(8, "0")}`;
}

export interface LogEvent {
  /** Where it begins in the log. */
  readonly offset: number;
  /** PCR, or in a CCEL the measurement register: 0 MRTD, 1 to 4 RTMR0 to RTMR3. */
  readonly index: number;
  readonly type: number;
  /** By TPM_ALG_ID: one for each algorithm of the log. */
  readonly digests: ReadonlyMap<number, Uint8Array>;
  readonly data: Uint8Array;
}

export interface EventLog {
  readonly algorithms: readonly number[];
  readonly events: readonly LogEvent[];
}

const SPEC_ID = new TextEncoder().encode("Spec ID Event03\0");

/** @throws Malformed; UNSUPPORTED for the SHA-1-only format of TPM 1.2, which proves nothing any more */
export function parseEventLog(bytes: Uint8Array): EventLog {
  const what = "event log";
  if (bytes.length > MAX_LOG_SIZE) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_LOG_SIZE} bytes`);
  const log = new Reader(bytes, what);
  const sizes = readSpecId(log);
  const events: LogEvent[] = [];
  while (log.remaining > 0 && !atPadding(bytes, log.offset)) {
    if (events.length === MAX_EVENTS) log.fail("TOO_LARGE", `over ${MAX_EVENTS} events`);
    const offset = log.offset;
    const index = log.u32le("register index");
    const type = log.u32le("event type");
    const count = log.u32le("digest count");
    // INVARIANT: each event has one digest of each algorithm; with one missing, that bank's replay could leave it out
    if (count !== sizes.size)
      log.fail("UNEXPECTED", `${count} digests, the log has ${sizes.size} algorithms`);
    const digests = new Map<number, Uint8Array>();
    for (let i = 0; i < count; i++) {
      const id = log.u16le("digest algorithm");
      const size = sizes.get(id) ?? log.fail("UNEXPECTED", `algorithm 0x${id.toString(16)} is not the log's`);
      if (digests.has(id)) log.fail("DUPLICATE", `algorithm 0x${id.toString(16)} twice`);
      digests.set(id, log.take(size, "digest"));
    }
    const data = log.take(log.u32le("event size"), "event data");
    events.push({ offset, index, type, digests, data });
  }
  return { algorithms: [...sizes.keys()], events };
}

/** The first event: SHA-1 format, EV_NO_ACTION, naming the algorithms and their digest sizes. */
function readSpecId(log: Reader): Map<number, number> {
  const index = log.u32le("register index");
  const type = log.u32le("event type");
  const digest = log.take(DIGEST.sha1.size, "digest");
  const header = log.nested(log.u32le("event size"), "Spec ID event");
  if (type !== EVENT.EV_NO_ACTION || header.remaining < SPEC_ID.length || !isZero(digest))
    log.fail("UNSUPPORTED", "no crypto-agile event log (its first event is no Spec ID event)");
  if (!equalBytes(header.take(SPEC_ID.length, "signature"), SPEC_ID))
    header.fail("UNSUPPORTED", "signature is not Spec ID Event03");
  // index 0 by the specification, 1 by TDX firmware
  if (index > 1) log.fail("UNEXPECTED", `Spec ID event of register ${index}`);
  header.u32le("platform class");
  header.u8("minor version");
  if (header.u8("major version") !== 2) header.fail("UNSUPPORTED", "specification's version is not 2");
  header.u8("errata");
  header.u8("uintn size");
  const count = header.u32le("number of algorithms");
  if (count === 0 || count > MAX_ALGORITHMS) header.fail("UNEXPECTED", `${count} algorithms`);
  const sizes = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const id = header.u16le("algorithm");
    const size = header.u16le("digest size");
    if (sizes.has(id)) header.fail("DUPLICATE", `algorithm 0x${id.toString(16)} twice`);
    if (size !== (KNOWN_SIZE.get(id) ?? size) || size === 0 || size > MAX_DIGEST)
      header.fail("UNEXPECTED", `digest of ${size} bytes for algorithm 0x${id.toString(16)}`);
    sizes.set(id, size);
  }
  header.take(header.u8("vendor info size"), "vendor info");
  header.end();
  return sizes;
}

/** Whether from here on the area is unused: all 0xff or all zero, as firmware leaves it. */
function atPadding(bytes: Uint8Array, from: number): boolean {
  const fill = bytes[from];
  if (fill !== 0 && fill !== 0xff) return false;
  for (let at = from; at < bytes.length; at++)
    if (bytes[at] !== fill) {
      // an event of register 0 begins with zeros too; its digest count is never zero
      if (fill === 0 && at - from < 12) return false;
      throw new Malformed("TRAILING", "event log", at, "bytes after the log's end");
    }
  return true;
}
