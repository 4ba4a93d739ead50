/** The twin's devices against the kernel's own behaviour: what a careless or dying caller gets. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { ioctl } from "../../native/ioctl.ts";
import {
  SNP_EXT_REPORT_REQ,
  SNP_GET_EXT_REPORT,
  SNP_GET_REPORT,
  SNP_GUEST_REQUEST,
  SNP_REPORT_REQ,
  SNP_REPORT_RESP,
  Struct,
  TDX_CMD_GET_REPORT0,
} from "../../native/layout.ts";
import { addressOf, errnoName, libc } from "../../native/libc.ts";
import { startTwin, type Twin } from "./twin.ts";

const ioctlAt = libc("int ioctl(int fd, unsigned long request, uintptr_t argument)");

/** exitinfo2 before the call; the driver leaves it alone where it succeeds. */
const UNTOUCHED = 0x77;

interface Asked {
  readonly request?: number;
  readonly version?: number;
  readonly body?: bigint;
  readonly room?: number;
}

describe("the twin's /dev/sev-guest behaves as the driver's", () => {
  let twin: Twin;
  let fd: number;
  before(async () => {
    twin = await startTwin({ tee: "sev-snp", interfaces: ["device"] });
    fd = openSync("/dev/sev-guest", "r+");
  });
  after(async () => {
    closeSync(fd);
    await twin[Symbol.asyncDispose]();
    assert.equal(existsSync("/dev/sev-guest"), false);
  });
  beforeEach(() => twin.control.reboot());

  async function ask({ request = SNP_GET_REPORT, version = 1, body, room = 0 }: Asked) {
    const bytes = Buffer.alloc(
      request === SNP_GET_EXT_REPORT ? SNP_EXT_REPORT_REQ.size : SNP_REPORT_REQ.size,
    );
    const certificates = Buffer.alloc(0x8000);
    if (request === SNP_GET_EXT_REPORT)
      new Struct(SNP_EXT_REPORT_REQ, bytes)
        .setWide("certs_address", addressOf(certificates))
        .set("certs_len", room);
    const response = new Struct(SNP_REPORT_RESP);
    const wrapper = new Struct(SNP_GUEST_REQUEST)
      .set("msg_version", version)
      .setWide("req_data", body ?? addressOf(bytes))
      .setWide("resp_data", addressOf(response.bytes))
      .set("fw_error", UNTOUCHED);
    const { value, errno } = await ioctl(fd, request, wrapper.bytes, bytes, response.bytes, certificates);
    return {
      value,
      errno: errnoName(errno),
      firmware: wrapper.get("fw_error"),
      vmm: wrapper.get("vmm_error"),
      size: response.get("report_size"),
      certificates,
    };
  }

  it("is root's alone, and neither read nor written", () => {
    assert.equal(statSync("/dev/sev-guest").mode & 0o7777, 0o600);
    assert.throws(() => readFileSync("/dev/sev-guest"), { code: "EINVAL" });
  });

  it("leaves the wrapper alone where it succeeds", async () => {
    const { value, firmware, vmm, size } = await ask({});
    assert.deepEqual({ value, firmware, vmm, size }, { value: 0, firmware: UNTOUCHED, vmm: 0, size: 1184 });
  });

  it("refuses what is malformed before the firmware is asked", async () => {
    const cases = [
      [{ version: 0 }, "EINVAL", UNTOUCHED],
      [{ body: 0n }, "EINVAL", 0xff],
      [{ request: 0xc0205309 }, "ENOTTY", 0xff],
      [{ request: SNP_GET_EXT_REPORT, room: 100 }, "EINVAL", 0xff],
      [{ request: SNP_GET_EXT_REPORT, room: 0x8000 }, "EINVAL", 0xff],
    ] as const;
    const before = (await twin.control.state()).requests;
    for (const [asked, expected, firmware] of cases) {
      const found = await ask(asked);
      assert.deepEqual([found.value, found.errno, found.firmware, found.vmm], [-1, expected, firmware, 0]);
    }
    assert.equal((await twin.control.state()).requests, before);
  });

  it("fills the room for certificates with zeros after the table", async () => {
    const { value, certificates } = await ask({ request: SNP_GET_EXT_REPORT, room: 0x4000 });
    assert.equal(value, 0);
    assert.ok(certificates.subarray(0x3000).every((byte) => byte === 0));
    assert.ok(certificates.subarray(0, 24).some((byte) => byte !== 0));
  });

  it("answers EFAULT to bad addresses, and goes on", async () => {
    for (let round = 0; round < 3; round++) {
      assert.equal(errnoName((await ioctlAt.async(fd, SNP_GET_REPORT, 16)).errno), "EFAULT");
      assert.equal((await ask({ body: 4096n })).errno, "EFAULT");
      assert.equal((await ask({})).value, 0);
    }
  });

  it("does not hang a caller that is killed while it waits", async () => {
    await twin.control.fault({ kind: "delay", milliseconds: 3000 });
    const source = `
      import { randomBytes } from "node:crypto";
      import { SevGuest } from "${new URL("../../agent/tee/sev-guest.ts", import.meta.url).href}";
      console.log("asking");
      await new SevGuest().getEvidence(randomBytes(64), { signal: new AbortController().signal });`;
    const caller = spawn(process.execPath, ["--input-type=module-typescript", "-e", source], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(caller.stdout, "data");
    await sleep(300);
    const begun = performance.now();
    caller.kill("SIGKILL");
    await once(caller, "exit");
    assert.ok(performance.now() - begun < 2000);
    assert.equal((await ask({})).value, 0);
  });

  it("serves many at once", async () => {
    await twin.control.fault({ kind: "delay", milliseconds: 100 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask({})));
    assert.ok(answers.every(({ value, size }) => value === 0 && size === 1184));
  });
});

describe("the twin's /dev/tdx_guest behaves as the driver's", () => {
  it("answers its one request and ENOTTY to others", async () => {
    await using twin = await startTwin({ tee: "tdx", interfaces: ["device"] });
    const fd = openSync("/dev/tdx_guest", "r+");
    const bytes = Buffer.alloc(1088, 3);
    assert.equal((await ioctl(fd, TDX_CMD_GET_REPORT0, bytes)).value, 0);
    assert.ok(bytes.subarray(64 + 128, 64 + 192).every((byte) => byte === 3));
    assert.equal(errnoName((await ioctl(fd, TDX_CMD_GET_REPORT0 + 1, bytes)).errno), "ENOTTY");
    assert.equal((await twin.control.state()).requests, 1);
    closeSync(fd);
  });
});
