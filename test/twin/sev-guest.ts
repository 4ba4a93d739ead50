/** /dev/sev-guest: snp_guest_ioctl() of Linux 6.12, in its order of checks, over the twin's driver. */
import {
  SNP_EXT_REPORT_REQ,
  SNP_GET_DERIVED_KEY,
  SNP_GET_EXT_REPORT,
  SNP_GET_REPORT,
  SNP_GUEST_REQUEST,
  SNP_REPORT_REQ,
  SNP_REPORT_RESP,
  SNP_DERIVED_KEY_REQ,
  SNP_DERIVED_KEY_RESP,
  Struct,
} from "../../native/layout.ts";
import type { IoctlCall, IoctlHandler } from "./cuse.ts";
import { errnoNumber, type Errno } from "./fuse-protocol.ts";
import { MAX_CERTIFICATES, NO_FIRMWARE_CALL, type Failed, type SnpDriver } from "./snp-driver.ts";

const PAGE = 4096;

/** The result, and what exitinfo2 holds then; the driver writes it back only where it is not zero. */
interface Result {
  readonly errno: Errno | undefined;
  readonly exitinfo2: bigint;
}

const OK: Result = { errno: undefined, exitinfo2: 0n };
const unasked = (errno: Errno): Result => ({ errno, exitinfo2: NO_FIRMWARE_CALL });
const failed = ({ errno, exitinfo2 }: Failed): Result => ({ errno, exitinfo2 });

export function sevGuestDevice(driver: SnpDriver): IoctlHandler {
  return async (call) => {
    const wrapper = new Struct(SNP_GUEST_REQUEST, await call.read(call.argument, SNP_GUEST_REQUEST.size));
    if (wrapper.get("msg_version") === 0) return -errnoNumber("EINVAL");
    const { errno, exitinfo2 } = await request(driver, call, wrapper);
    if (exitinfo2 !== 0n) {
      wrapper.bytes.writeBigUInt64LE(exitinfo2, 24);
      call.write(call.argument, wrapper.bytes);
    }
    return errno === undefined ? 0 : -errnoNumber(errno);
  };
}

async function request(
  driver: SnpDriver,
  call: IoctlCall,
  wrapper: Struct<typeof SNP_GUEST_REQUEST>,
): Promise<Result> {
  const body = wrapper.getWide("req_data");
  const response = wrapper.getWide("resp_data");
  const known = [SNP_GET_REPORT, SNP_GET_DERIVED_KEY, SNP_GET_EXT_REPORT].includes(call.command);
  if (!known) return unasked("ENOTTY");
  if (body === 0n || response === 0n) return unasked("EINVAL");
  if (call.command === SNP_GET_DERIVED_KEY) return derivedKey(driver, call, body, response);
  return report(driver, call, body, response);
}

async function report(driver: SnpDriver, call: IoctlCall, body: bigint, response: bigint): Promise<Result> {
  const extended = call.command === SNP_GET_EXT_REPORT;
  const layout = extended ? SNP_EXT_REPORT_REQ : SNP_REPORT_REQ;
  const bytes = Buffer.alloc(SNP_EXT_REPORT_REQ.size);
  bytes.set(await call.read(body, layout.size));
  const asked = new Struct(SNP_EXT_REPORT_REQ, bytes);
  const certificatesAt = extended ? asked.getWide("certs_address") : 0n;
  const room = certificatesAt === 0n ? 0 : asked.get("certs_len");
  if (room > MAX_CERTIFICATES || room % PAGE !== 0) return unasked("EINVAL");
  const answer = await driver.report(asked.slice("user_data"), asked.get("vmpl"), room);
  if (answer.kind === "failed") {
    if (answer.room !== undefined) {
      asked.set("certs_len", answer.room);
      call.write(body, asked.bytes);
    }
    return failed(answer);
  }
  const out = new Struct(SNP_REPORT_RESP).set("status", answer.status).set("report_size", answer.size);
  out.slice("report").set(answer.report);
  if (room > 0) call.write(certificatesAt, Buffer.concat([answer.certificates], room));
  call.write(response, out.bytes);
  return OK;
}

async function derivedKey(
  driver: SnpDriver,
  call: IoctlCall,
  body: bigint,
  response: bigint,
): Promise<Result> {
  const answer = await driver.derivedKey(await call.read(body, SNP_DERIVED_KEY_REQ.size));
  if (answer.kind === "failed") return failed(answer);
  const out = new Struct(SNP_DERIVED_KEY_RESP).set("status", answer.status);
  out.slice("key").set(answer.key);
  call.write(response, out.bytes);
  return OK;
}
