/**
 * SEV-SNP by ioctl(2) on /dev/sev-guest. The guest talks to the firmware over a channel whose key (VMPCK) the driver
 * wipes after any failure but one, so as not to reuse an IV; it is then closed until a reboot. INVARIANT: a request is
 * never repeated, except once where the driver asks for more room for certificates, which leaves the key alone.
 * @see drivers/virt/coco/sev-guest/sev-guest.c, include/uapi/linux/sev-guest.h, SEV-SNP ABI 1.58 §7.3, §7.4
 */
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import type { Evidence } from "../api/gen/sealet.ts";
import { SealetError, errnoOf, reasonOf } from "../error.ts";
import { ioctl } from "../../native/ioctl.ts";
import {
  SNP_DERIVED_KEY_REQ,
  SNP_DERIVED_KEY_RESP,
  SNP_EXT_REPORT_REQ,
  SNP_GET_DERIVED_KEY,
  SNP_GET_EXT_REPORT,
  SNP_GET_REPORT,
  SNP_GUEST_REQUEST,
  SNP_REPORT_REQ,
  SNP_REPORT_RESP,
  Struct,
} from "../../native/layout.ts";
import { addressOf, errnoName } from "../../native/libc.ts";
import { Secret } from "../../native/memory.ts";
import {
  checkReportData,
  KEY_FIELDS,
  type DerivedKeyRequest,
  type EvidenceOptions,
  type EvidenceSource,
} from "./evidence-source.ts";
import { RequestQueue } from "./request-queue.ts";
import { checkSnpReport, SNP_REPORT_SIZE } from "./snp-report.ts";

export const SEV_GUEST = "/dev/sev-guest";

const PAGE = 4096;
/** SEV_FW_BLOB_MAX_SIZE: the driver takes no larger table. */
const MAX_CERTIFICATES = 0x4000;
const VMM_ERROR_INVALID_LENGTH = 1;
const VMM_ERROR_BUSY = 2;
/** fw_error while the firmware was not asked. */
const NO_FIRMWARE_CALL = 0xff;

export interface SevGuestOptions {
  readonly path?: string;
  /** The level that this kernel runs at: what a report names by default. */
  readonly vmpl?: number;
  /** Milliseconds between requests; clouds allow about one a second. */
  readonly spacing?: number;
  /** Room for certificates in the first request, in bytes. */
  readonly certificateRoom?: number;
}

/** What a request came to. `room` is what the driver wants for certificates. */
type Answer = { readonly kind: "answered" } | { readonly kind: "more-room"; readonly room: number };

export class SevGuest implements EvidenceSource {
  readonly tee = "sev-snp";
  readonly origin: string;
  readonly #vmpl: number;
  readonly #queue: RequestQueue;
  readonly #certificateRoom: number;

  constructor({
    path = SEV_GUEST,
    vmpl = 0,
    spacing = 1000,
    certificateRoom = MAX_CERTIFICATES,
  }: SevGuestOptions = {}) {
    this.origin = path;
    this.#vmpl = vmpl;
    this.#queue = new RequestQueue(spacing);
    this.#certificateRoom = certificateRoom;
  }

  async getEvidence(reportData: Uint8Array, options: EvidenceOptions): Promise<Evidence> {
    checkReportData(reportData);
    const vmpl = options.vmpl ?? this.#vmpl;
    return this.#request(options.signal, async (fd) => {
      const response = new Struct(SNP_REPORT_RESP);
      const auxiliary = await this.#extendedReport(fd, reportData, vmpl, response);
      checkStatus("report", response.get("status"));
      const size = response.get("report_size");
      if (size !== SNP_REPORT_SIZE)
        throw new SealetError("EVIDENCE_MALFORMED", "The firmware's report has a wrong size", {
          expected: `${SNP_REPORT_SIZE} bytes`,
          found: `${size} bytes`,
        });
      const report = Buffer.from(response.slice("report").subarray(0, size));
      checkSnpReport(report, reportData, vmpl);
      return { tee: this.tee, report, auxiliary, eventLog: Buffer.alloc(0) };
    });
  }

  /** @returns 32 bytes @throws TEE_REFUSED, EVIDENCE_CHANNEL_LOST, ... */
  readonly deriveKey = async (request: DerivedKeyRequest, signal: AbortSignal): Promise<Secret> =>
    this.#request(signal, async (fd) => {
      const body = new Struct(SNP_DERIVED_KEY_REQ)
        .set("root_key_select", request.root === "vmrk" ? 1 : 0)
        .setWide(
          "guest_field_select",
          BigInt(request.fields.reduce((sum, name) => sum | KEY_FIELDS[name], 0)),
        )
        .set("vmpl", request.vmpl ?? this.#vmpl)
        .set("guest_svn", request.guestSvn ?? 0)
        .setWide("tcb_version", request.tcbVersion ?? 0n);
      using memory = Secret.allocate(SNP_DERIVED_KEY_RESP.size);
      const response = new Struct(SNP_DERIVED_KEY_RESP, memory.bytes);
      await this.#call(fd, SNP_GET_DERIVED_KEY, body.bytes, response.bytes);
      checkStatus("derived key", response.get("status"));
      const key = Secret.take(response.slice("key"));
      if (signal.aborted) key[Symbol.dispose](); // who asked has gone
      return key;
    });

  async #request<T>(signal: AbortSignal, work: (fd: number) => Promise<T>): Promise<T> {
    return this.#queue.run(async () => {
      const device = await openDevice(this.origin);
      try {
        return await work(device.fd);
      } finally {
        await device.close();
      }
    }, signal);
  }

  /** @returns the host's certificate table; empty where it gives none, or one that the driver has no room for */
  async #extendedReport(
    fd: number,
    reportData: Uint8Array,
    vmpl: number,
    response: Struct<typeof SNP_REPORT_RESP>,
  ): Promise<Buffer> {
    let room = this.#certificateRoom;
    for (const last of [false, true]) {
      const certificates = Buffer.alloc(room);
      const body = new Struct(SNP_EXT_REPORT_REQ)
        .set("vmpl", vmpl)
        .setWide("certs_address", addressOf(certificates))
        .set("certs_len", room);
      body.slice("user_data").set(reportData);
      const answer = await this.#call(fd, SNP_GET_EXT_REPORT, body.bytes, response.bytes, certificates);
      if (answer.kind === "answered") return usedPart(certificates);
      if (last || answer.room <= room || answer.room > MAX_CERTIFICATES || answer.room % PAGE !== 0) break;
      ({ room } = answer);
    }
    const body = new Struct(SNP_REPORT_REQ).set("vmpl", vmpl);
    body.slice("user_data").set(reportData);
    await this.#call(fd, SNP_GET_REPORT, body.bytes, response.bytes);
    return Buffer.alloc(0);
  }

  async #call(
    fd: number,
    request: number,
    body: Buffer,
    response: Buffer,
    ...keep: readonly Buffer[]
  ): Promise<Answer> {
    const wrapper = new Struct(SNP_GUEST_REQUEST)
      .set("msg_version", 1)
      .setWide("req_data", addressOf(body))
      .setWide("resp_data", addressOf(response));
    const { value, errno } = await ioctl(fd, request, wrapper.bytes, body, response, ...keep);
    if (value >= 0) return { kind: "answered" };
    const vmm = wrapper.get("vmm_error");
    const firmware = wrapper.get("fw_error");
    if (errnoName(errno) === "EIO" && vmm === VMM_ERROR_INVALID_LENGTH && request === SNP_GET_EXT_REPORT)
      return { kind: "more-room", room: new Struct(SNP_EXT_REPORT_REQ, body).get("certs_len") };
    throw failure(errnoName(errno), vmm, firmware);
  }
}

/** Which failures leave the channel open: those where the driver did not come to ask the firmware. */
const HARMLESS: readonly string[] = ["EFAULT", "EINVAL", "ENOMEM", "EPERM", "EACCES"];

function failure(errno: string, vmm: number, firmware: number): SealetError {
  const codes = `errno ${errno}, VMM error ${vmm}, firmware error 0x${firmware.toString(16)}`;
  if (errno === "ENOTTY")
    return new SealetError(
      "EVIDENCE_CHANNEL_LOST",
      `The driver has wiped its key to the firmware earlier in this boot (${codes})`,
    );
  if (vmm === VMM_ERROR_BUSY)
    return new SealetError(
      "EVIDENCE_CHANNEL_LOST",
      `The host throttled the request until the driver gave up and wiped its key to the firmware (${codes})`,
    );
  const asked = vmm !== 0 || (firmware !== NO_FIRMWARE_CALL && firmware !== 0);
  if (!asked && HARMLESS.includes(errno))
    return new SealetError("NATIVE_FAILED", `/dev/sev-guest did not take the request (${codes})`);
  return new SealetError(
    "EVIDENCE_CHANNEL_LOST",
    `The request failed, and with that the driver wiped its key to the firmware (${codes})`,
  );
}

/** SEV-SNP ABI 1.58, tables 21 and 25: the status inside the encrypted answer. The channel stays open. */
function checkStatus(what: string, status: number): void {
  if (status === 0) return;
  const meaning = status === 0x16 ? "invalid parameters" : status === 0x27 ? "invalid key" : "unknown";
  throw new SealetError(
    "TEE_REFUSED",
    `The firmware refused the ${what}: status 0x${status.toString(16)}, ${meaning}`,
  );
}

/** @throws TEE_ABSENT, NATIVE_FAILED */
async function openDevice(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR);
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === "ENOENT" || errno === "ENXIO" || errno === "ENODEV")
      throw new SealetError("TEE_ABSENT", `${path} is not there`, { cause });
    throw new SealetError("NATIVE_FAILED", `${path} can't be opened: ${reasonOf(cause)}`, { cause });
  }
}

/** The driver hands out whole pages; zeros after the last certificate are no part of the table. */
function usedPart(certificates: Buffer): Buffer {
  let end = 0;
  for (let entry = 0; entry + 24 <= certificates.length; entry += 24) {
    const guid = certificates.subarray(entry, entry + 16);
    const offset = certificates.readUInt32LE(entry + 16);
    const length = certificates.readUInt32LE(entry + 20);
    if (offset === 0 && length === 0 && guid.every((byte) => byte === 0)) {
      // the terminating entry belongs to the table
      return end === 0 ? Buffer.alloc(0) : certificates.subarray(0, Math.max(end, entry + 24));
    }
    end = Math.max(end, offset + length);
  }
  return certificates; // no end in sight: the verifier says what is wrong with it
}
