/**
 * The sev-guest driver over a software secure processor: what drivers/virt/coco/sev-guest/sev-guest.c (Linux 6.12) does
 * with requests and with every kind of failure. INVARIANT: as there, any failure after the firmware or the host was
 * asked wipes the key to the firmware, except a certificate table that did not fit.
 */
import { createHash, hkdfSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { amdCa, certificateTable, encodeReport, signReportBytes, type Vek } from "./amd-ca.ts";
import type { Machine, TwinConfig } from "./config.ts";
import type { FaultOf, Faults } from "./faults.ts";
import type { TwinState } from "./control.ts";
import type { Errno } from "./fuse-protocol.ts";

const PAGE = 4096;
/** SEV_FW_BLOB_MAX_SIZE */
export const MAX_CERTIFICATES = 0x4000;
/** SEV_RET_NO_FW_CALL */
export const NO_FIRMWARE_CALL = 0xffn;
const INVALID_PARAMETER = 0x16;
const VMM_INVALID_LENGTH = 1n << 32n;
const VMM_BUSY = 2n << 32n;

export interface Answered {
  readonly kind: "answered";
  readonly status: number;
  readonly size: number;
  readonly report: Uint8Array;
  /** Empty where none were asked for. */
  readonly certificates: Uint8Array;
}

export interface DerivedKey {
  readonly kind: "answered";
  readonly status: number;
  readonly key: Uint8Array;
}

export interface Failed {
  readonly kind: "failed";
  readonly errno: Errno;
  readonly exitinfo2: bigint;
  /** What the driver wants for certificates. */
  readonly room?: number;
}

export class SnpDriver {
  readonly faults: Faults;
  readonly floor: number;
  machine: Machine;
  readonly #config: TwinConfig;
  readonly #chip: Uint8Array;
  #vek: Vek;
  #wiped = false;
  #requests = 0;
  #last: Uint8Array | undefined;
  #turns: Promise<void> = Promise.resolve();

  constructor(config: TwinConfig, faults: Faults) {
    this.#config = config;
    this.faults = faults;
    this.machine = config.machine;
    this.floor = config.vmpl;
    const size = config.product === "Turin" ? 8 : 64;
    this.#chip = createHash("sha512").update(`chip of ${config.chip}`).digest().subarray(0, size);
    this.#vek = this.#issue();
  }

  get state(): Omit<TwinState, "waitingFaults"> {
    const rootSha256 = amdCa(this.#config.product, this.#config.ca).arkSha256;
    return { wiped: this.#wiped, requests: this.#requests, rootSha256 };
  }

  /** A reboot of the machine, perhaps as another one. */
  reboot(machine: Machine = this.machine): void {
    this.machine = machine;
    this.#wiped = false;
    this.#vek = this.#issue();
  }

  #issue(): Vek {
    const { product, ca } = this.#config;
    return amdCa(product, ca).issue({ hwid: this.#chip, tcb: this.machine.tcb });
  }

  #fail(errno: Errno, exitinfo2: bigint): Failed {
    if (exitinfo2 !== NO_FIRMWARE_CALL) this.#wiped = true;
    return { kind: "failed", errno, exitinfo2 };
  }

  /** snp_send_guest_request(): up to the point where an answer would be there. */
  async #send(): Promise<Failed | { readonly fault: Awaited<ReturnType<Faults["next"]>> }> {
    if (this.#wiped) return { kind: "failed", errno: "ENOTTY", exitinfo2: NO_FIRMWARE_CALL };
    this.#requests++;
    const fault = await this.faults.next();
    switch (fault?.kind) {
      case "host-busy":
        await sleep(fault.milliseconds);
        return this.#fail("ETIMEDOUT", VMM_BUSY);
      case "vmm-error":
        return this.#fail("EIO", BigInt(fault.code) << 32n);
      case "firmware-error":
        return this.#fail("EIO", BigInt(fault.code));
      case "bad-message":
        return this.#fail("EBADMSG", 0n);
      case "driver-error":
        return this.#fail(fault.errno, NO_FIRMWARE_CALL);
      case "status":
      case "certificates":
      case "report":
      case "read-error":
      case "foreign-write":
      case undefined:
    }
    return { fault };
  }

  /** snp_cmd_mutex: one request at a time, from whichever interface. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(work);
    this.#turns = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }

  /** @param room bytes for certificates; 0 asks for none */
  async report(reportData: Buffer, vmpl: number, room: number): Promise<Answered | Failed> {
    return this.#alone(() => this.#report(reportData, vmpl, room));
  }

  /** MSG_KEY_REQ. @param request struct snp_derived_key_req */
  async derivedKey(request: Buffer): Promise<DerivedKey | Failed> {
    return this.#alone(() => this.#derivedKey(request));
  }

  async #report(reportData: Buffer, vmpl: number, room: number): Promise<Answered | Failed> {
    const sent = await this.#send();
    if ("kind" in sent) return sent;
    const { fault } = sent;
    const certificates = this.#certificates(fault?.kind === "certificates" ? fault.bytes : 0);
    if (room > 0 && certificates.length > room)
      return {
        kind: "failed",
        errno: "EIO",
        exitinfo2: VMM_INVALID_LENGTH,
        room: Math.ceil(certificates.length / PAGE) * PAGE,
      };
    const refused =
      fault?.kind === "status" ? fault.status : vmpl < this.floor || vmpl > 3 ? INVALID_PARAMETER : 0;
    if (refused !== 0)
      return { kind: "answered", status: refused, size: 0, report: new Uint8Array(0), certificates };
    const change = fault?.kind === "report" ? fault : undefined;
    const report = this.#sign(reportData, vmpl, change);
    return { kind: "answered", status: 0, size: change?.size ?? report.length, report, certificates };
  }

  async #derivedKey(request: Buffer): Promise<DerivedKey | Failed> {
    const sent = await this.#send();
    if ("kind" in sent) return sent;
    const vmpl = request.readUInt32LE(16);
    const status =
      sent.fault?.kind === "status"
        ? sent.fault.status
        : vmpl < this.floor || vmpl > 3
          ? INVALID_PARAMETER
          : 0;
    const fields = request.readUInt32LE(8);
    // bit 3: the measurement; the other fields are the same for every twin, or in the request
    const secret = Buffer.concat([
      this.#chip,
      (fields & 8) === 0 ? Buffer.alloc(48) : this.machine.measurement,
    ]);
    const key =
      status === 0 ? Buffer.from(hkdfSync("sha512", secret, request, "derived key", 32)) : Buffer.alloc(32);
    return { kind: "answered", status, key };
  }

  #sign(reportData: Buffer, vmpl: number, change: FaultOf<"report"> | undefined): Uint8Array {
    if (change?.replay === true && this.#last !== undefined) return this.#last;
    const { measurement, hostData, policy, platformInfo, reportVersion } = this.machine;
    const echoed = Buffer.from(reportData);
    if (change?.reportData === "other") echoed.fill(0x55);
    const fields = {
      product: this.#config.product,
      ...(reportVersion === 0 ? {} : { version: reportVersion }),
      measurement,
      hostData,
      policy,
      platformInfo,
      vmpl: change?.vmpl ?? vmpl,
      reportData: echoed,
      reportId: createHash("sha256").update(`report id of ${this.#config.chip}`).digest(),
    };
    const report = signReportBytes(encodeReport(fields, this.#vek), this.#vek.key);
    if (change?.signature === "bad") report[0x2a0] = (report[0x2a0] ?? 0) ^ 1;
    this.#last = report;
    return report;
  }

  #certificates(atLeast: number): Uint8Array {
    if (!this.machine.certificates) return new Uint8Array(0);
    const ca = amdCa(this.#config.product, this.#config.ca);
    const table = certificateTable({ vcek: this.#vek.der, ask: ca.ask.der, ark: ca.ark.der });
    return atLeast <= table.length ? table : Buffer.concat([table], atLeast);
  }
}
