/** A TDX guest: TDREPORTs as the module makes them, and quotes under the twin's root. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { TDX_CMD_GET_REPORT0, TDX_REPORT_REQ } from "../../native/layout.ts";
import type { Machine, TwinConfig } from "./config.ts";
import type { TwinState } from "./control.ts";
import type { IoctlHandler } from "./cuse.ts";
import type { Faults } from "./faults.ts";
import { errnoNumber, type Errno } from "./fuse-protocol.ts";
import { IntelCa, newKey, type Pck } from "./intel-ca.ts";

const sha384 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash("sha384");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export class TdxModule {
  readonly faults: Faults;
  machine: Machine;
  readonly #intel: IntelCa;
  readonly #pck: Pck;
  readonly #attestationKey = newKey();
  #requests = 0;

  constructor(config: TwinConfig, faults: Faults) {
    this.machine = config.machine;
    this.faults = faults;
    this.#intel = intelCa(config.ca);
    this.#pck = this.#intel.pck();
  }

  get state(): Omit<TwinState, "waitingFaults"> {
    return { requests: this.#requests, rootSha256: this.#intel.rootSha256 };
  }

  reboot(machine: Machine = this.machine): void {
    this.machine = machine;
  }

  /** @returns bytes, or the errno of a failure; a throttled host takes its time first */
  async request(make: (other: boolean) => Buffer): Promise<Buffer | Errno> {
    this.#requests++;
    const fault = await this.faults.next();
    switch (fault?.kind) {
      case "read-error":
        return fault.errno;
      case "host-busy":
        await sleep(fault.milliseconds);
        return "EBUSY";
      case "report": {
        const bytes = make(fault.reportData === "other");
        return fault.size === undefined ? bytes : bytes.subarray(0, fault.size);
      }
      case "driver-error":
        return fault.errno;
      case "vmm-error":
      case "firmware-error":
      case "bad-message":
      case "status":
        return "EIO";
      case "certificates":
      case "foreign-write":
      case undefined:
    }
    return make(false);
  }

  /** TDREPORT_STRUCT: REPORTMACSTRUCT[256], TEE_TCB_INFO[239], reserved[17], TDINFO_STRUCT[512] */
  report(reportData: Buffer): Buffer {
    const report = Buffer.alloc(1024);
    report[0] = 0x81;
    reportData.copy(report, 128);
    this.machine.measurement.copy(report, 512 + 16); // MRTD
    this.machine.configId.copy(report, 512 + 64);
    sha384(report.subarray(256, 495)).copy(report, 32);
    sha384(report.subarray(512)).copy(report, 80);
    return report;
  }

  /** Version 4, signed by the twin's own quoting enclave. */
  quote(reportData: Buffer): Buffer {
    const td = { mrTd: this.machine.measurement, mrConfigId: this.machine.configId, reportData };
    return Buffer.from(this.#intel.quote({ td, pck: this.#pck, attestationKey: this.#attestationKey }));
  }
}

/** Keys that a folder holds, so that several processes have the same CA, or fresh ones. */
function intelCa(folder: string): IntelCa {
  const path = join(folder, "intel.json");
  return existsSync(path)
    ? new IntelCa(z.array(z.string()).parse(JSON.parse(readFileSync(path, "utf8"))))
    : new IntelCa();
}

/** /dev/tdx_guest: tdx_guest_ioctl() */
export function tdxGuestDevice(module: TdxModule): IoctlHandler {
  return async (call) => {
    if (call.command !== TDX_CMD_GET_REPORT0) return -errnoNumber("ENOTTY");
    const asked = await call.read(call.argument, 64);
    const report = await module.request((other) => module.report(other ? Buffer.alloc(64, 0x55) : asked));
    if (typeof report === "string") return -errnoNumber(report);
    call.write(call.argument + BigInt(TDX_REPORT_REQ.size - 1024), report);
    return 0;
  };
}
