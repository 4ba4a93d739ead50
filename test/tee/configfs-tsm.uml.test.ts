/** The agent's configfs-tsm source against a real mounted file system, for SNP and for TDX, with every failure. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CONFIGFS_TSM, ConfigfsTsm, tsmProvider } from "../../agent/tee/configfs-tsm.ts";
import { startTwin, type Twin } from "../twin/twin.ts";

const options = { signal: new AbortController().signal };

function source(provider: string): ConfigfsTsm {
  return new ConfigfsTsm(provider, { spacing: 0, delays: [1, 1, 1] });
}

function snp(vmpl = 1): ConfigfsTsm {
  return new ConfigfsTsm("sev_guest", { spacing: 0, delays: [1, 1, 1], vmpl });
}

const folder = join(CONFIGFS_TSM, "by-hand");

function file(name: string): string {
  return join(folder, name);
}

function generation(): number {
  return Number(readFileSync(file("generation"), "utf8"));
}

/** No folder is left behind, whatever happened. */
function noneLeft(): void {
  assert.deepEqual(readdirSync(CONFIGFS_TSM), []);
}

describe("configfs-tsm without a TEE", () => {
  it("is not there", async () => {
    assert.equal(existsSync(CONFIGFS_TSM), false);
    assert.equal(await tsmProvider(), undefined);
  });

  it("knows the kernel's providers only", () => {
    assert.throws(() => new ConfigfsTsm("other_guest"), { code: "TEE_ABSENT" });
  });
});

describe("configfs-tsm of a SEV-SNP guest", () => {
  let twin: Twin;
  before(async () => {
    twin = await startTwin({ tee: "sev-snp", interfaces: ["configfs-tsm"], vmpl: 1 });
  });
  after(async () => {
    await twin[Symbol.asyncDispose]();
  });
  beforeEach(() => twin.control.reboot({ certificates: true }));
  afterEach(noneLeft);

  async function fails(fault: Parameters<Twin["control"]["fault"]>[0], code: string): Promise<void> {
    await twin.control.fault(fault);
    const before = (await twin.control.state()).requests;
    await assert.rejects(snp().getEvidence(randomBytes(64), options), { code });
    assert.equal((await twin.control.state()).requests, before + 1, "asked once and not again");
  }

  it("gives a report with its certificates, of the level that was asked for", async () => {
    assert.equal(await tsmProvider(), "sev_guest");
    const reportData = randomBytes(64);
    const evidence = await snp().getEvidence(reportData, { ...options, vmpl: 2 });
    assert.equal(evidence.tee, "sev-snp");
    assert.deepEqual(evidence.report.subarray(0x50, 0x90), reportData);
    assert.equal(evidence.report.readUInt32LE(0x30), 2);
    assert.ok(evidence.auxiliary.length > 3000);
  });

  it("does without certificates", async () => {
    await twin.control.reboot({ certificates: false });
    assert.equal((await snp().getEvidence(randomBytes(64), options)).auxiliary.length, 0);
  });

  it("asks nothing below the floor of privilege levels", async () => {
    const before = (await twin.control.state()).requests;
    await assert.rejects(snp(0).getEvidence(randomBytes(64), options), { code: "TEE_REFUSED" });
    assert.equal((await twin.control.state()).requests, before);
  });

  it("never repeats a request that failed", async () => {
    await fails({ kind: "status", status: 0x16 }, "TEE_REFUSED");
    await fails({ kind: "status", status: 0x99 }, "TEE_REFUSED");
    await fails({ kind: "driver-error", errno: "ENOMEM" }, "NATIVE_FAILED");
    assert.equal((await twin.control.state()).wiped, false);
    await fails({ kind: "host-busy", milliseconds: 10 }, "EVIDENCE_CHANNEL_LOST");
    assert.equal((await twin.control.state()).wiped, true);
    await assert.rejects(snp().getEvidence(randomBytes(64), options), { code: "EVIDENCE_CHANNEL_LOST" });
  });

  it("throws away what was read while somebody else wrote, and asks anew", async () => {
    await twin.control.fault({ kind: "foreign-write" }, 2);
    const reportData = randomBytes(64);
    const { report } = await snp().getEvidence(reportData, options);
    assert.deepEqual(report.subarray(0x50, 0x90), reportData);
    assert.equal((await twin.control.state()).waitingFaults, 0);
  });

  it("gives up where somebody else always writes", async () => {
    await twin.control.fault({ kind: "foreign-write" }, 100);
    await assert.rejects(snp().getEvidence(randomBytes(64), options), {
      code: "EVIDENCE_THROTTLED",
      message: /somebody else wrote/u,
    });
  });

  it("refuses a report over other bytes, or of another size", async () => {
    await fails({ kind: "report", reportData: "other" }, "EVIDENCE_MALFORMED");
    await fails({ kind: "report", size: 100 }, "EVIDENCE_MALFORMED");
    await fails({ kind: "report", size: 3000 }, "EVIDENCE_MALFORMED");
  });

  it("answers parallel requests of several sources, each with its own bytes", async () => {
    const asked = Array.from({ length: 12 }, () => randomBytes(64));
    const sources = [snp(), snp(), snp()];
    const answers = await Promise.all(
      asked.map((bytes, index) => (sources[index % 3] ?? snp()).getEvidence(bytes, options)),
    );
    for (const [index, { report }] of answers.entries())
      assert.deepEqual(report.subarray(0x50, 0x90), asked[index]);
  });
});

describe("configfs-tsm of a TDX guest", () => {
  let twin: Twin;
  before(async () => {
    twin = await startTwin({
      tee: "tdx",
      interfaces: ["configfs-tsm"],
      machine: { measurement: "cd".repeat(48), configId: "ef".repeat(48) },
    });
  });
  after(async () => {
    await twin[Symbol.asyncDispose]();
  });
  beforeEach(() => twin.control.reboot());
  afterEach(noneLeft);

  it("gives a quote, and nothing beside it", async () => {
    assert.equal(await tsmProvider(), "tdx_guest");
    const reportData = randomBytes(64);
    const evidence = await source("tdx_guest").getEvidence(reportData, options);
    assert.equal(evidence.tee, "tdx");
    assert.deepEqual(evidence.report.subarray(568, 632), reportData);
    assert.equal(evidence.report.subarray(184, 232).toString("hex"), "cd".repeat(48));
    assert.equal(evidence.report.subarray(232, 280).toString("hex"), "ef".repeat(48));
    assert.equal(evidence.auxiliary.length, 0);
  });

  it("adds the firmware's event log where there is one", async () => {
    const eventLog = new URL("../vectors/trustee/eventlog/CCEL_data_gcp", import.meta.url).pathname;
    const tdx = new ConfigfsTsm("tdx_guest", { spacing: 0, eventLog });
    assert.ok((await tdx.getEvidence(randomBytes(64), options)).eventLog.length > 10_000);
    assert.equal((await source("tdx_guest").getEvidence(randomBytes(64), options)).eventLog.length, 0);
  });

  it("repeats in a new folder while the host is busy", async () => {
    for (const errno of ["EBUSY", "EAGAIN", "EINTR", "ETIMEDOUT", "EIO"] as const) {
      await twin.control.fault({ kind: "read-error", errno }, 3);
      const { report } = await source("tdx_guest").getEvidence(randomBytes(64), options);
      assert.ok(report.length > 1000, errno);
    }
  });

  it("gives up after a bounded number of repetitions", async () => {
    const before = (await twin.control.state()).requests;
    await twin.control.fault({ kind: "read-error", errno: "EBUSY" }, 100);
    await assert.rejects(source("tdx_guest").getEvidence(randomBytes(64), options), {
      code: "EVIDENCE_THROTTLED",
      message: /EBUSY/u,
    });
    assert.equal((await twin.control.state()).requests, before + 4);
  });

  it("repeats where the host's quoting service is away: an empty quote, without an error", async () => {
    await twin.control.fault({ kind: "report", size: 0 }, 3);
    assert.ok((await source("tdx_guest").getEvidence(randomBytes(64), options)).report.length > 1000);
    await twin.control.fault({ kind: "report", size: 0 }, 4);
    await assert.rejects(source("tdx_guest").getEvidence(randomBytes(64), options), {
      code: "EVIDENCE_THROTTLED",
      message: /gave no quote/u,
    });
  });

  it("ends its waiting when the caller gives up", async () => {
    await twin.control.fault({ kind: "read-error", errno: "EBUSY" }, 100);
    const patient = new ConfigfsTsm("tdx_guest", { spacing: 0, delays: [60_000] });
    await assert.rejects(patient.getEvidence(randomBytes(64), { signal: AbortSignal.timeout(300) }), {
      code: "CANCELLED",
    });
    await new Promise((done) => setTimeout(done, 100));
  });

  it("does not repeat what will not change", async () => {
    for (const [errno, code] of [
      ["EINVAL", "TEE_REFUSED"],
      ["ENXIO", "TEE_REFUSED"],
    ] as const) {
      const before = (await twin.control.state()).requests;
      await twin.control.fault({ kind: "read-error", errno });
      await assert.rejects(source("tdx_guest").getEvidence(randomBytes(64), options), { code });
      assert.equal((await twin.control.state()).requests, before + 1);
    }
  });

  it("refuses a quote over other bytes, and one that is cut off", async () => {
    for (const fault of [
      { kind: "report", reportData: "other" },
      { kind: "report", size: 600 },
    ] as const) {
      await twin.control.fault(fault);
      await assert.rejects(source("tdx_guest").getEvidence(randomBytes(64), options), {
        code: "EVIDENCE_MALFORMED",
      });
    }
  });

  it("refuses to serve another provider than the one it was made for", async () => {
    await assert.rejects(source("sev_guest").getEvidence(randomBytes(64), options), { code: "TEE_ABSENT" });
  });
});

describe("the twin's configfs-tsm behaves as the kernel's", () => {
  let twin: Twin;
  before(async () => {
    twin = await startTwin({ tee: "sev-snp", interfaces: ["configfs-tsm"] });
    await mkdir(folder);
  });
  after(async () => {
    await rmdir(folder);
    await twin[Symbol.asyncDispose]();
  });

  it("has the provider's files and no others", async () => {
    assert.deepEqual(
      readdirSync(folder).toSorted(),
      "auxblob generation inblob outblob privlevel privlevel_floor provider".split(" "),
    );
    await assert.rejects(writeFile(file("new"), ""), { code: "EACCES" });
    await assert.rejects(readFile(file("inblob")), { code: /EACCES|EIO/u });
    assert.throws(
      () => {
        mkdirSync(folder);
      },
      { code: "EEXIST" },
    );
    assert.throws(
      () => {
        rmdirSync(join(CONFIGFS_TSM, "none"));
      },
      { code: "ENOENT" },
    );
  });

  it("counts writes, keeps a blob until the next one, and wants 64 bytes", () => {
    assert.throws(() => readFileSync(file("outblob")), { code: "EINVAL" });
    const begin = generation();
    writeFileSync(file("inblob"), randomBytes(64));
    writeFileSync(file("privlevel"), "2");
    assert.equal(generation(), begin + 2);
    const blob = readFileSync(file("outblob"));
    assert.deepEqual(readFileSync(file("outblob")), blob);
    assert.throws(
      () => {
        writeFileSync(file("inblob"), Buffer.alloc(65));
      },
      { code: "EFBIG" },
    );
    assert.throws(
      () => {
        writeFileSync(file("privlevel"), "7");
      },
      { code: "EINVAL" },
    );
    writeFileSync(file("inblob"), Buffer.alloc(10));
    assert.throws(() => readFileSync(file("outblob")), { code: "EINVAL" });
  });
});
