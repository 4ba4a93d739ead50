/** The agent's SNP source against a real device file with the real ioctl ABI, and every failure that its driver has. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { parseCertificateTable } from "../../agent/attest/snp/certificate-table.ts";
import { SevGuest, type SevGuestOptions } from "../../agent/tee/sev-guest.ts";
import { startTwin, type Twin } from "../twin/twin.ts";

const never = new AbortController().signal;
const options = { signal: never };

function source(more: SevGuestOptions = {}): SevGuest {
  return new SevGuest({ spacing: 0, ...more });
}

describe("sev-guest", () => {
  let twin: Twin;

  before(async () => {
    twin = await startTwin({
      tee: "sev-snp",
      interfaces: ["device"],
      machine: { measurement: "ab".repeat(48) },
    });
  });
  after(async () => {
    await twin[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await twin.control.reboot({ measurement: "ab".repeat(48), certificates: true });
  });

  async function requests(): Promise<number> {
    return (await twin.control.state()).requests;
  }

  /** The source fails with the code; afterwards the driver has wiped its key, or not. */
  async function fails(code: string, { wiped }: { readonly wiped: boolean }, message = /./u): Promise<void> {
    const before = await requests();
    await assert.rejects(source().getEvidence(randomBytes(64), options), { code, message });
    assert.equal(await requests(), before + 1, "asked once and not again");
    assert.equal((await twin.control.state()).wiped, wiped);
    const next = source().getEvidence(randomBytes(64), options);
    if (wiped) await assert.rejects(next, { code: "EVIDENCE_CHANNEL_LOST", message: /ENOTTY/u });
    else assert.equal((await next).report.length, 1184);
  }

  it("gives a report over the bytes, with its certificates", async () => {
    const reportData = randomBytes(64);
    const evidence = await source().getEvidence(reportData, options);
    assert.equal(evidence.tee, "sev-snp");
    assert.equal(evidence.report.length, 1184);
    assert.deepEqual(evidence.report.subarray(0x50, 0x90), reportData);
    assert.equal(evidence.report.subarray(0x90, 0xc0).toString("hex"), "ab".repeat(48));
    assert.deepEqual(Object.keys(parseCertificateTable(evidence.auxiliary)).toSorted(), [
      "ark",
      "ask",
      "vcek",
    ]);
  });

  it("does without certificates where the host gives none", async () => {
    await twin.control.reboot({ certificates: false });
    const evidence = await source().getEvidence(randomBytes(64), options);
    assert.equal(evidence.report.length, 1184);
    assert.equal(evidence.auxiliary.length, 0);
  });

  it("enlarges the room for certificates once, and the channel stays open", async () => {
    await twin.control.fault({ kind: "certificates", bytes: 9000 }, 2);
    const evidence = await source({ certificateRoom: 4096 }).getEvidence(randomBytes(64), options);
    assert.equal(evidence.report.length, 1184);
    assert.ok(evidence.auxiliary.length > 3000);
    assert.equal((await twin.control.state()).wiped, false);
  });

  it("takes the report alone where the certificates are more than the driver takes", async () => {
    await twin.control.fault({ kind: "certificates", bytes: 0x5000 });
    const evidence = await source().getEvidence(randomBytes(64), options);
    assert.equal(evidence.report.length, 1184);
    assert.equal(evidence.auxiliary.length, 0);
    assert.equal((await twin.control.state()).wiped, false);
  });

  it("does not go on enlarging for a host that always wants more", async () => {
    const before = await requests();
    await twin.control.fault({ kind: "certificates", bytes: 5000 });
    await twin.control.fault({ kind: "certificates", bytes: 9000 });
    const evidence = await source({ certificateRoom: 4096 }).getEvidence(randomBytes(64), options);
    assert.equal(evidence.auxiliary.length, 0);
    assert.equal(await requests(), before + 3);
  });

  it("names the privilege level that was asked for", async () => {
    const { report } = await source({ vmpl: 2 }).getEvidence(randomBytes(64), options);
    assert.equal(report.readUInt32LE(0x30), 2);
    const other = await source({ vmpl: 2 }).getEvidence(randomBytes(64), { ...options, vmpl: 3 });
    assert.equal(other.report.readUInt32LE(0x30), 3);
  });

  it("is refused for a privilege level that there is not, and stays open", async () => {
    await assert.rejects(source().getEvidence(randomBytes(64), { ...options, vmpl: 7 }), {
      code: "TEE_REFUSED",
      message: /status 0x16/u,
    });
    assert.equal((await twin.control.state()).wiped, false);
  });

  it("tells the firmware's status", async () => {
    await twin.control.fault({ kind: "status", status: 0x27 });
    await fails("TEE_REFUSED", { wiped: false }, /status 0x27, invalid key/u);
  });

  it("is throttled: the driver gives up, and the channel is lost", async () => {
    await twin.control.fault({ kind: "host-busy", milliseconds: 100 });
    await fails("EVIDENCE_CHANNEL_LOST", { wiped: true }, /throttled.*ETIMEDOUT, VMM error 2/u);
  });

  it("loses the channel by an error of the firmware, the host, or a forged answer", async () => {
    for (const [fault, message] of [
      [{ kind: "firmware-error", code: 0x16 }, /EIO, VMM error 0, firmware error 0x16/u],
      [{ kind: "vmm-error", code: 7 }, /EIO, VMM error 7/u],
      [{ kind: "bad-message" }, /EBADMSG/u],
    ] as const) {
      await twin.control.reboot();
      await twin.control.fault(fault);
      await fails("EVIDENCE_CHANNEL_LOST", { wiped: true }, message);
    }
  });

  it("keeps the channel where the driver did not ask the firmware", async () => {
    for (const errno of ["EINVAL", "ENOMEM", "EFAULT"] as const) {
      await twin.control.fault({ kind: "driver-error", errno });
      await fails("NATIVE_FAILED", { wiped: false }, new RegExp(errno, "u"));
    }
  });

  it("refuses a report over other bytes, of another level, of another size, and a replayed one", async () => {
    await source().getEvidence(randomBytes(64), options);
    for (const fault of [
      { kind: "report", reportData: "other" },
      { kind: "report", vmpl: 1 },
      { kind: "report", size: 0 },
      { kind: "report", size: 1183 },
      { kind: "report", size: 3000 },
      { kind: "report", size: 0xffff_ffff },
      { kind: "report", replay: true },
    ] as const) {
      await twin.control.fault(fault);
      await fails("EVIDENCE_MALFORMED", { wiped: false });
    }
  });

  it("passes a bad signature on: that is the verifier's to see", async () => {
    await twin.control.fault({ kind: "report", signature: "bad" });
    assert.equal((await source().getEvidence(randomBytes(64), options)).report.length, 1184);
  });

  it("answers parallel requests one after the other, each with its own bytes", async () => {
    const snp = source();
    await twin.control.fault({ kind: "delay", milliseconds: 200 });
    const asked = Array.from({ length: 8 }, () => randomBytes(64));
    const answers = await Promise.all(asked.map((bytes) => snp.getEvidence(bytes, options)));
    for (const [index, { report }] of answers.entries())
      assert.deepEqual(report.subarray(0x50, 0x90), asked[index]);
  });

  it("does not block the event loop while the device takes its time", async () => {
    await twin.control.fault({ kind: "delay", milliseconds: 500 });
    let turns = 0;
    const timer = setInterval(() => turns++, 10);
    await source().getEvidence(randomBytes(64), options);
    clearInterval(timer);
    assert.ok(turns > 15, `${turns} turns`);
  });

  it("lets a caller give up, but not the request: the next one waits for its end", async () => {
    const snp = source();
    const begun = performance.now();
    await twin.control.fault({ kind: "delay", milliseconds: 2000 });
    const given = snp.getEvidence(randomBytes(64), { signal: AbortSignal.timeout(100) });
    await assert.rejects(given, { code: "CANCELLED" });
    assert.ok(performance.now() - begun < 1900);
    const bytes = randomBytes(64);
    const { report } = await snp.getEvidence(bytes, options);
    assert.ok(performance.now() - begun >= 1990);
    assert.deepEqual(report.subarray(0x50, 0x90), bytes);
  });

  it("keeps a distance between requests", async () => {
    const snp = source({ spacing: 300 });
    const begun = performance.now();
    for (let index = 0; index < 3; index++) await snp.getEvidence(randomBytes(64), options);
    assert.ok(performance.now() - begun >= 600);
  });

  it("derives a key that depends on what it was asked to depend on", async () => {
    const snp = source();
    const derive = async (fields: readonly "measurement"[]): Promise<string> => {
      using key = await snp.deriveKey({ root: "vcek", fields }, never);
      assert.equal(key.length, 32);
      return key.bytes.toString("hex");
    };
    const [bound, free] = [await derive(["measurement"]), await derive([])];
    assert.equal(await derive(["measurement"]), bound);
    assert.notEqual(bound, free);
    await twin.control.reboot({ measurement: "cd".repeat(48) });
    assert.notEqual(await derive(["measurement"]), bound);
    assert.equal(await derive([]), free);
  });

  it("derives no key for a level that there is not, or over a lost channel", async () => {
    const request = { root: "vcek", fields: [] } as const;
    await assert.rejects(source().deriveKey({ ...request, vmpl: 9 }, never), { code: "TEE_REFUSED" });
    await twin.control.fault({ kind: "bad-message" });
    await assert.rejects(source().deriveKey(request, never), { code: "EVIDENCE_CHANNEL_LOST" });
  });

  it("is not there without its device", async () => {
    const before = await requests();
    await assert.rejects(source({ path: "/dev/none" }).getEvidence(randomBytes(64), options), {
      code: "TEE_ABSENT",
    });
    assert.equal(await requests(), before);
  });

  it("asks nothing with report data of a wrong length", async () => {
    const before = await requests();
    await assert.rejects(source().getEvidence(randomBytes(63), options), { code: "INTERNAL" });
    assert.equal(await requests(), before);
  });
});
