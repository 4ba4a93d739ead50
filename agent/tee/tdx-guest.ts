/**
 * TDX's local report (TDREPORT) by ioctl(2) on /dev/tdx_guest: what this TD measured, for people and for local checks.
 * It is MACed by this machine's CPU, not signed: never evidence. Quotes come from configfs-tsm.
 * @see include/uapi/linux/tdx-guest.h, Intel TDX module ABI, TDREPORT_STRUCT
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { SealetError } from "../error.ts";
import { ioctl } from "../../native/ioctl.ts";
import { Struct, TDX_CMD_GET_REPORT0, TDX_REPORT_REQ } from "../../native/layout.ts";
import { errnoName } from "../../native/libc.ts";
import { checkReportData } from "./evidence-source.ts";

export const TDX_GUEST = "/dev/tdx_guest";

const TYPE_TDX = 0x81;
const REPORT_DATA_OFFSET = 128;

/**
 * @param reportData 64 bytes
 * @returns 1024 bytes, TDREPORT_STRUCT
 * @throws TEE_ABSENT, TEE_REFUSED, EVIDENCE_MALFORMED
 */
export async function tdReport(reportData: Uint8Array, path: string = TDX_GUEST): Promise<Buffer> {
  checkReportData(reportData);
  const device = await open(path, constants.O_RDWR).catch((cause: unknown) => {
    throw new SealetError("TEE_ABSENT", `${path} can't be opened`, { cause });
  });
  const request = new Struct(TDX_REPORT_REQ);
  request.slice("reportdata").set(reportData);
  try {
    const { value, errno } = await ioctl(device.fd, TDX_CMD_GET_REPORT0, request.bytes);
    if (value < 0)
      throw new SealetError("TEE_REFUSED", `The TDX module gave no TDREPORT: ${errnoName(errno)}`);
  } finally {
    await device.close();
  }
  const report = Buffer.from(request.slice("tdreport"));
  const echo = report.subarray(REPORT_DATA_OFFSET, REPORT_DATA_OFFSET + reportData.length);
  if (report[0] !== TYPE_TDX || !echo.equals(reportData))
    throw new SealetError("EVIDENCE_MALFORMED", "The TDREPORT is not the answer to this request");
  return report;
}
