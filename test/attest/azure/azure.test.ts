import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { parseHclReport, TD_REPORT } from "../../../agent/attest/azure/hcl.ts";
import { appraise as publicAppraise, type Appraisal } from "../../../agent/attest/appraise.ts";
import { packAzureAuxiliary, unpackAzureAuxiliary } from "../../../agent/attest/azure/evidence.ts";
import { azurePolicy, type AzurePolicy } from "../../../agent/attest/azure/policy.ts";
import { parseRuntimeData } from "../../../agent/attest/azure/runtime-data.ts";
import {
  AZURE_DEMANDED,
  AZURE_PREDICATES,
  verifyAzure,
  type AzureInput,
} from "../../../agent/attest/azure/verify.ts";
import type { Crypto } from "../../../agent/attest/crypto.ts";
import { hex, isZero } from "../../../agent/attest/bytes.ts";
import { attempt } from "../../../agent/attest/malformed.ts";
import { checkPolicy } from "../../../agent/attest/policy.ts";
import type { TpmEvidence } from "../../../agent/attest/tpm/verify.ts";
import { parsePublicKey } from "../../../agent/attest/x509.ts";
import { verifyTdx } from "../../../agent/attest/tdx/verify.ts";
import { failures, type Verdict } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { amdCa, certificateTable, encodeReport, signReportBytes } from "../../twin/amd-ca.ts";
import { TWIN_TIME } from "../../twin/intel-ca.ts";
import { MEASUREMENT, strictPolicy } from "../snp/policies.ts";
import { ca, COLLATERAL, twinPolicy } from "../tdx/twin.ts";
import { affirmingBut, throughout, vectorOf } from "../ear.ts";
import { eventLog } from "../tdx/ccel.ts";
import { Tpm } from "../tpm/machine.ts";
import { vector } from "../vectors.ts";

const crypto = nodeCrypto();
const tpm = new Tpm();
tpm.extend(11, "kernel");
const NONCE = new Uint8Array(32).fill(1);
const VM = "D270E56B-F668-4990-A5BC-9B624576841D";

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

function runtimeData(change: Record<string, unknown> = {}, more: readonly unknown[] = []): Uint8Array {
  const { n, e } = tpm.key.publicKey.export({ format: "jwk" });
  const document = {
    // the attestation key is not the first one
    keys: [
      { kid: "HCLEkPub", kty: "RSA", e, n: "AQAB" },
      { kid: "HCLAkPub", key_ops: ["sign"], kty: "RSA", e, n },
      ...more,
    ],
    "vm-configuration": {
      "console-enabled": false,
      "secure-boot": true,
      "tpm-enabled": true,
      "tpm-persisted": true,
      vmUniqueId: VM,
    },
    "user-data": "00".repeat(64),
    ...change,
  };
  return Buffer.from(JSON.stringify(document));
}

function hcl(
  runtime: Uint8Array,
  options: { type?: number; hash?: number; magic?: string; length?: number } = {},
): Uint8Array {
  const { type = 4, hash = 1, magic = "HCLA", length = runtime.length } = options;
  return new Uint8Array(
    Buffer.concat([
      Buffer.from(magic),
      u32(2),
      u32(0),
      u32(2),
      new Uint8Array(16),
      new Uint8Array(1184),
      u32(length + 20),
      u32(1),
      u32(type),
      u32(hash),
      u32(length),
      runtime,
      new Uint8Array(100),
    ]),
  );
}

const POLICY: AzurePolicy = azurePolicy.parse({
  hardware: { "sev-snp": "denied", tdx: twinPolicy() },
  tpm: {
    bank: "sha256",
    pcrs: Object.fromEntries(
      [0, 1, 2, 3, 4, 5, 6, 7, 11].map((pcr) => [
        pcr,
        { anyOf: [hex(tpm.pcrs.get(pcr) ?? new Uint8Array())] },
      ]),
    ),
  },
  configuration: { secureBoot: "enabled", console: "disabled", tpmPersisted: "enabled" },
  vms: { anyOf: [VM.toLowerCase()] },
});

function appraise(
  runtime: Uint8Array = runtimeData(),
  change: Partial<AzureInput> = {},
  bound = runtime,
): Promise<Verdict> {
  const reportData = Buffer.concat([createHash("sha256").update(bound).digest(), new Uint8Array(32)]);
  const quote = ca.quote({ td: { reportData } });
  return verifyAzure({
    tee: "tdx",
    hclReport: hcl(runtime),
    tpm: { ok: true, value: { ...tpm.quote({ nonce: NONCE }), pcrs: tpm.pcrs } },
    policy: POLICY,
    nonce: NONCE,
    crypto,
    verifyHardware: (_, expected) =>
      verifyTdx({
        quote,
        collateral: COLLATERAL,
        policy: twinPolicy(),
        at: TWIN_TIME,
        expect: { reportData: expected, initdataDigest: new Uint8Array(48) },
        crypto,
      }),
    ...change,
  });
}

const modulusOf = (bits: number): string => Buffer.alloc(bits / 8, 0xff).toString("base64url");

const flags = (change: Record<string, unknown>): Uint8Array =>
  runtimeData({
    "vm-configuration": {
      "console-enabled": false,
      "secure-boot": true,
      "tpm-persisted": true,
      vmUniqueId: VM,
      ...change,
    },
  });

describe("Azure's paravisor", () => {
  it("hardware, runtime data and TPM together are accepted", async () => {
    const verdict = await appraise();
    assert.deepEqual(failures(verdict), []);
    assert.deepEqual(verdict.notEvaluated, []);
    assert.equal(verdict.accepted, true);
    assert.equal(verdict.tee, "azure-tdx");
  });

  const { n, e } = new Tpm().key.publicKey.export({ format: "jwk" });
  const unread = attempt(() => unpackAzureAuxiliary(new Uint8Array(3)));
  assert.ok(!unread.ok);
  const cases: readonly (readonly [code: string, what: string, verdict: () => Promise<Verdict>])[] = [
    ["azure.evidence.format", "unreadable", () => appraise(undefined, { tpm: unread })],
    [
      "azure.hcl.format",
      "another magic",
      () => appraise(undefined, { hclReport: hcl(runtimeData(), { magic: "HCLB" }) }),
    ],
    [
      "azure.hcl.format",
      "a hardware report of another type",
      () => appraise(undefined, { hclReport: hcl(runtimeData(), { type: 3 }) }),
    ],
    [
      "azure.hcl.format",
      "another hash",
      () => appraise(undefined, { hclReport: hcl(runtimeData(), { hash: 4 }) }),
    ],
    [
      "azure.hcl.format",
      "runtime data beyond the report",
      () => appraise(undefined, { hclReport: hcl(runtimeData(), { length: 60_000 }) }),
    ],
    ["azure.hcl.format", "empty", () => appraise(undefined, { hclReport: new Uint8Array(0) })],
    [
      "azure.hcl.tee",
      "SNP's in the place of TDX's",
      () => appraise(undefined, { hclReport: hcl(runtimeData(), { type: 2 }) }),
    ],
    [
      "azure.runtime-data.format",
      "two keys HCLAkPub",
      () => appraise(runtimeData({}, [{ kid: "HCLAkPub", kty: "RSA", e, n }])),
    ],
    [
      "azure.runtime-data.format",
      "none",
      () => appraise(runtimeData({ keys: [{ kid: "HCLEkPub", kty: "RSA", e, n }] })),
    ],
    [
      "azure.runtime-data.format",
      "an EC key",
      () => appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "EC" }] })),
    ],
    [
      "azure.runtime-data.format",
      "a short key",
      () => appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e, n: "sgeoFQ" }] })),
    ],
    ["azure.runtime-data.format", "not JSON", () => appraise(Buffer.from("{"))],
    ["azure.runtime-data.format", "no keys", () => appraise(runtimeData({ keys: [] }))],
    ["azure.runtime-data.format", "a flag that is a text", () => appraise(flags({ "secure-boot": "yes" }))],
    [
      "azure.runtime-data.format",
      "more user data than a report's 64 bytes",
      () => appraise(runtimeData({ "user-data": "00".repeat(65) })),
    ],
    ["azure.runtime-data.format", "over the budget", () => appraise(runtimeData({ more: "x".repeat(9000) }))],
    [
      "azure.runtime-data.format",
      "a modulus in base64, not base64url",
      () => appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e, n: `${n?.slice(0, -1)}+` }] })),
    ],
    ...[4104, 8192].map(
      (bits) =>
        [
          "azure.runtime-data.format",
          `a key of ${bits} bits`,
          () => appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e, n: modulusOf(bits) }] })),
        ] as const,
    ),
    ...["", "AQABA", "AQAB_", "AAEAAQ", "AQABAQE", "Aw", "AQAD", "_____w"].map(
      (exponent) =>
        [
          "azure.runtime-data.format",
          `exponent "${exponent}"`,
          () => appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e: exponent, n }] })),
        ] as const,
    ),
    [
      "azure.hcl.format",
      "over the budget",
      () =>
        appraise(undefined, {
          hclReport: new Uint8Array([...hcl(runtimeData()), ...new Uint8Array(16_384)]),
        }),
    ],
    ["azure.vm", "not stated", () => appraise(flags({ vmUniqueId: undefined }))],
    ["azure.secure-boot", "disabled", () => appraise(flags({ "secure-boot": false }))],
    ["azure.secure-boot", "not stated", () => appraise(flags({ "secure-boot": undefined }))],
    ["azure.console", "enabled", () => appraise(flags({ "console-enabled": true }))],
    ["azure.tpm-persisted", "not", () => appraise(flags({ "tpm-persisted": false }))],
    ["azure.vm", "another", () => appraise(flags({ vmUniqueId: "AAAAAAAA-F668-4990-A5BC-9B624576841D" }))],
    [
      "tdx.td.report-data",
      "runtime data that the hardware did not report",
      () => appraise(runtimeData(), {}, runtimeData({ more: 1 })),
    ],
    [
      "tpm.quote.signature",
      "another key in the runtime data than the TPM's",
      () => appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e, n }] })),
    ],
    ["tpm.quote.nonce", "an old quote", () => appraise(undefined, { nonce: new Uint8Array(32) })],
  ];
  for (const [code, what, verdict] of cases)
    it(`${code}: ${what}`, async () => {
      const found = await verdict();
      assert.deepEqual(failures(found), [code]);
      assert.equal(found.accepted, false);
    });

  it("every predicate of the paravisor has such a test", () => {
    const tested = new Set(cases.map(([code]) => code));
    assert.deepEqual(
      AZURE_DEMANDED.filter((code) => code.startsWith("azure.") && !tested.has(code)),
      [],
    );
    assert.equal(Object.keys(AZURE_PREDICATES).length, AZURE_DEMANDED.length);
  });

  it("a key of 4096 bits is the longest that is read", () => {
    const { attestationKey } = parseRuntimeData(
      runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e, n: modulusOf(4096) }] }),
    );
    const key = parsePublicKey(attestationKey);
    assert.ok(key.kind === "rsa");
    assert.deepEqual([key.bits, key.exponent], [4096, 65_537]);
  });

  it("the oldest paravisors have no user data", async () => {
    const verdict = await appraise(runtimeData({ "user-data": undefined }));
    assert.equal(verdict.accepted, true);
    assert.equal("userData" in verdict.claims, false);
  });

  it("what is not checked says so", async () => {
    const unchecked = { unchecked: "a test" };
    const policy = azurePolicy.parse({
      ...POLICY,
      configuration: { secureBoot: unchecked, console: unchecked, tpmPersisted: unchecked },
      vms: unchecked,
    });
    assert.equal(
      (await appraise(flags({ "secure-boot": false, "console-enabled": true }), { policy })).accepted,
      true,
    );
  });

  it("its attestation result: the PCRs are the executables, the TPM's nonce the identity", async () => {
    const skip = { unchecked: "a test" };
    const pcrs = Object.fromEntries(Object.keys(POLICY.tpm.pcrs).map((pcr) => [pcr, skip]));
    const rows: readonly (readonly [change: ReturnType<typeof affirmingBut>, verdict: Promise<Verdict>])[] = [
      [affirmingBut({}), appraise()],
      [
        affirmingBut({ executables: 96 }),
        appraise(undefined, {
          tpm: { ok: true, value: { ...tpm.quote({ nonce: NONCE }), pcrs: new Map() } },
        }),
      ],
      [affirmingBut({ "instance-identity": 96 }), appraise(undefined, { nonce: new Uint8Array(32) })],
      [affirmingBut({ "instance-identity": 0 }), appraise(undefined, { nonce: skip })],
      [
        affirmingBut({ executables: 0 }),
        appraise(undefined, { policy: { ...POLICY, tpm: { bank: "sha256", pcrs } } }),
      ],
      [affirmingBut({ configuration: 96 }), appraise(flags({ "secure-boot": false }))],
      [affirmingBut({ "instance-identity": 96 }), appraise(flags({ vmUniqueId: undefined }))],
      // the TPM's key is not one that the hardware vouches for
      [throughout(99), appraise(runtimeData(), {}, runtimeData({ more: 1 }))],
      [throughout(99), appraise(runtimeData({ keys: [{ kid: "HCLAkPub", kty: "RSA", e, n }] }))],
      [{ ...throughout(0), hardware: 96 }, appraise(undefined, { hclReport: new Uint8Array(0) })],
      [
        { ...throughout(0), "instance-identity": 96 },
        appraise(undefined, { nonce: new Uint8Array(32), brief: true }),
      ],
    ];
    for (const [expected, verdict] of rows) assert.deepEqual(vectorOf(await verdict), expected);
    const wrong = {
      ...POLICY,
      tpm: { ...POLICY.tpm, pcrs: { ...POLICY.tpm.pcrs, 11: { anyOf: ["00".repeat(32)] } } },
    };
    const mismatch = await appraise(undefined, { policy: azurePolicy.parse(wrong) });
    assert.deepEqual(failures(mismatch), ["tpm.pcrs"]);
    assert.deepEqual(vectorOf(mismatch), affirmingBut({ executables: 96 }));
  });

  it("mutants of the paravisor's report are refused or say the same", async () => {
    const runtime = runtimeData();
    const report = hcl(runtime);
    const from = 1216;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: report.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const mutant = Uint8Array.from(report);
          mutant[at] = (mutant[at] ?? 0) ^ flip;
          const verdict = await appraise(runtime, { hclReport: mutant });
          const read = (at >= from + 8 && at < from + 20 + runtime.length) || at < 4;
          if (read) assert.equal(verdict.accepted, false, `byte ${at}`);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("Azure's evidence through the public function", () => {
  const denied = {
    schema: "sealet.policy/v1",
    version: 1,
    description: "",
    tees: { "sev-snp": "denied", tdx: "denied" },
  };
  const checked = checkPolicy({ ...denied, tees: { ...denied.tees, azure: POLICY } });
  assert.ok(checked.ok);
  const { policy } = checked;
  const request = new Uint8Array(64).fill(3);
  const nonce = new Uint8Array(createHash("sha256").update(request).digest());
  const runtime = runtimeData();
  const quote = ca.quote({
    td: { reportData: Buffer.concat([createHash("sha256").update(runtime).digest(), new Uint8Array(32)]) },
  });
  const auxiliary = packAzureAuxiliary({ tpm: { ...tpm.quote({ nonce }), pcrs: tpm.pcrs }, hardware: quote });
  const input: Appraisal = {
    evidence: { tee: "azure-tdx", report: hcl(runtime), auxiliary, eventLog: new Uint8Array(0) },
    collateral: { snp: {}, tdx: COLLATERAL },
    policy,
    at: TWIN_TIME,
    expect: { reportData: request, initdata: { sha256: new Uint8Array(32), sha384: new Uint8Array(48) } },
    crypto,
  };

  it("is accepted, bound to the request by the TPM's nonce", async () => {
    const verdict = await publicAppraise(input);
    assert.deepEqual(failures(verdict), []);
    assert.equal(verdict.accepted, true);
    const replayed = await publicAppraise({
      ...input,
      expect: { ...input.expect, reportData: new Uint8Array(64) },
    });
    assert.deepEqual(failures(replayed), ["tpm.quote.nonce"]);
  });

  const pack = (quoted: Partial<TpmEvidence>, hardware = quote): Uint8Array =>
    packAzureAuxiliary({ tpm: { ...tpm.quote({ nonce }), pcrs: tpm.pcrs, ...quoted }, hardware });

  it("brief: no signature is verified, and no event log replayed, after a cheap predicate failed", async () => {
    const tdx = twinPolicy({ eventLog: "replay" });
    const replaying = { ...POLICY, hardware: { "sev-snp": "denied", tdx } };
    const demanding = checkPolicy({ ...denied, tees: { ...denied.tees, azure: replaying } });
    assert.ok(demanding.ok);
    const log = eventLog(...Array.from({ length: 50 }, () => ({ index: 1, type: 0xd, data: "x" })));
    const evidence = { ...input.evidence, eventLog: log };
    const refused: readonly (readonly [code: string, change: Partial<Appraisal>])[] = [
      ["tpm.quote.nonce", { expect: { ...input.expect, reportData: new Uint8Array(64) } }],
      ["tpm.quote.digest", { evidence: { ...evidence, auxiliary: pack({ pcrs: new Map() }) } }],
      ["azure.runtime-data.format", { evidence: { ...evidence, report: hcl(Buffer.from("{}")) } }],
      ["azure.secure-boot", { evidence: { ...evidence, report: hcl(flags({ "secure-boot": false })) } }],
      ["azure.hcl.tee", { evidence: { ...evidence, report: hcl(runtime, { type: 2 }) } }],
      ["azure.evidence.format", { evidence: { ...evidence, auxiliary: new Uint8Array(1) } }],
      ["tdx.td.report-data", { evidence: { ...evidence, auxiliary: pack({}, ca.quote()) } }],
    ];
    for (const [code, change] of refused) {
      const counted = { verify: 0, sha384: 0 };
      const counting: Crypto = {
        digest: (algorithm, data) => {
          if (algorithm === "sha384") counted.sha384++;
          return crypto.digest(algorithm, data);
        },
        verify: (...given) => {
          counted.verify++;
          return crypto.verify(...given);
        },
      };
      const whole = { ...input, evidence, policy: demanding.policy, crypto: counting, ...change };
      const brief = await publicAppraise({ ...whole, brief: true });
      assert.equal(brief.accepted, false);
      assert.ok(failures(brief).includes(code), `${code}: ${failures(brief).join()}`);
      assert.deepEqual(counted, { verify: 0, sha384: 0 }, code);
      const full = failures(await publicAppraise(whole));
      assert.deepEqual(
        failures(brief).filter((failed) => !full.includes(failed)),
        [],
      );
    }
    assert.equal((await publicAppraise({ ...input, brief: true })).accepted, true);
  });

  it("brief: the TPM's signature is verified only where the hardware's word holds", async () => {
    const calls: string[] = [];
    const counting: Crypto = {
      digest: (...given) => crypto.digest(...given),
      verify: (algorithm, ...rest) => {
        calls.push(algorithm);
        return crypto.verify(algorithm, ...rest);
      },
    };
    const late = { ...input, at: Date.parse("2030-01-01T00:00:00Z"), crypto: counting };
    assert.equal((await publicAppraise({ ...late, brief: true })).accepted, false);
    assert.ok(!calls.includes("rsa-pkcs1-sha256"));
    await publicAppraise(late);
    assert.ok(calls.includes("rsa-pkcs1-sha256"));
  });

  it("an SNP machine's hardware part is appraised as SNP", async () => {
    const amd = amdCa("Milan");
    const vek = amd.issue();
    const snp = strictPolicy(amd).tees["sev-snp"];
    const both = checkPolicy({
      ...denied,
      tees: { ...denied.tees, azure: { ...POLICY, hardware: { "sev-snp": snp, tdx: "denied" } } },
    });
    assert.ok(both.ok);
    const initdata = new Uint8Array(32).fill(4);
    const report = signReportBytes(
      encodeReport(
        {
          product: "Milan",
          reportData: Buffer.concat([createHash("sha256").update(runtime).digest(), new Uint8Array(32)]),
          hostData: initdata,
          measurement: Buffer.from(MEASUREMENT, "hex"),
        },
        vek,
      ),
      vek.key,
    );
    const whole = hcl(runtime, { type: 2 });
    whole.set(report, 32);
    const table = certificateTable({ vcek: vek.der });
    const machine: Appraisal = {
      ...input,
      evidence: {
        ...input.evidence,
        tee: "azure-sev-snp",
        report: whole,
        auxiliary: packAzureAuxiliary({ tpm: { ...tpm.quote({ nonce }), pcrs: tpm.pcrs }, hardware: table }),
      },
      collateral: { snp: { Milan: amd.collateral() } },
      policy: both.policy,
      expect: { reportData: request, initdata: { sha256: initdata, sha384: new Uint8Array(48) } },
    };
    const verdict = await publicAppraise(machine);
    assert.deepEqual(failures(verdict), []);
    assert.equal(verdict.accepted, true);
    assert.deepEqual(vectorOf(verdict), affirmingBut({}));
    // the report of another runtime: the paravisor's word is not the hardware's
    const other = hcl(runtimeData({ more: 1 }), { type: 2 });
    other.set(report, 32);
    const swapped = await publicAppraise({ ...machine, evidence: { ...machine.evidence, report: other } });
    assert.deepEqual(failures(swapped), ["snp.report-data"]);
    // a TDX machine's report in an envelope that says SNP
    const mixed = await publicAppraise({
      ...machine,
      evidence: { ...machine.evidence, report: hcl(runtime) },
    });
    assert.ok(failures(mixed).includes("azure.hcl.tee"));
    assert.equal(mixed.accepted, false);
  });

  it("without a request to bind to, the nonce says that it was not checked", async () => {
    const verdict = await publicAppraise({
      ...input,
      expect: { ...input.expect, reportData: { unchecked: "a look" } },
    });
    assert.equal(verdict.accepted, true);
    assert.equal(verdict.predicates.find(({ code }) => code === "tpm.quote.nonce")?.unchecked, "a look");
  });

  it("a PCR that was not read is not there", () => {
    const pcrs = new Map([[3, new Uint8Array(32).fill(3)]]);
    const packed = packAzureAuxiliary({ tpm: { ...tpm.quote({ nonce }), pcrs }, hardware: quote });
    assert.deepEqual([...unpackAzureAuxiliary(packed).tpm.pcrs.keys()], [3]);
  });

  it("is refused where the policy denies it, or where it can't be unpacked", async () => {
    const other = checkPolicy(denied);
    assert.ok(other.ok);
    assert.deepEqual(failures(await publicAppraise({ ...input, policy: other.policy })), ["evidence.tee"]);
    const snp = { ...input, evidence: { ...input.evidence, tee: "azure-sev-snp" } };
    assert.deepEqual(failures(await publicAppraise(snp)), ["evidence.tee"]);
    for (const junk of [
      new Uint8Array(0),
      auxiliary.subarray(1),
      auxiliary.subarray(0, -1),
      new Uint8Array([...auxiliary, 0]),
    ]) {
      const verdict = await publicAppraise({ ...input, evidence: { ...input.evidence, auxiliary: junk } });
      assert.equal(verdict.accepted, false);
      assert.ok(failures(verdict).includes("azure.evidence.format"));
    }
  });
});

describe("genuine HCL reports", () => {
  for (const [file, tee, type] of [
    ["hcl-report-snp", "sev-snp", "snp_report"],
    ["hcl-report-tdx", "tdx", "td_report"],
  ] as const)
    it(`${file}: the hardware's report carries the digest of the runtime data`, async () => {
      const report = parseHclReport(vector(`azure-cvm-tooling/${file}.bin`));
      assert.equal(report.tee, tee);
      assert.deepEqual(
        Buffer.from(report.runtimeData),
        Buffer.from(vector(`azure-cvm-tooling/${file}.runtime_data.json`)),
      );
      assert.deepEqual(
        Buffer.from(report.hardwareReport),
        Buffer.from(vector(`azure-cvm-tooling/${file}.${type}.bin`)),
      );
      const offset = tee === "tdx" ? 128 : 0x50;
      const reportData = report.hardwareReport.subarray(offset, offset + 64);
      assert.equal(
        hex(reportData.subarray(0, 32)),
        hex(await crypto.digest(report.hash, report.runtimeData)),
      );
      assert.ok(isZero(reportData.subarray(32)));
      parseRuntimeData(report.runtimeData);
    });

  it("runtime data of three generations are read", () => {
    const oldest = parseRuntimeData(vector("azure-cvm-tooling/hcl-report-snp.runtime_data.json"));
    assert.equal(oldest.userData, undefined);
    const newer = parseRuntimeData(vector("azure-cvm-tooling/hcl-report-tdx.runtime_data.json"));
    assert.deepEqual(newer.configuration, {
      consoleEnabled: true,
      secureBoot: false,
      tpmEnabled: true,
      tpmPersisted: false,
      vmUniqueId: VM,
    });
    assert.equal(newer.userData, "00".repeat(64));
    parseRuntimeData(vector("azure-cvm-tooling/var-data.bin"));
  });

  it("TDREPORTs are laid out as the table says", () => {
    assert.equal(TD_REPORT.reserved(vector("azure-cvm-tooling/hcl-report-tdx.td_report.bin")), undefined);
    // an invented one: of the right size, with rubbish in its reserved fields
    assert.ok(TD_REPORT.decode(vector("go-tdx-guest/testdata/report.dat")));
    const { mrTd, rtmr0, reportData } = TD_REPORT.decode(
      vector("azure-cvm-tooling/hcl-report-tdx.td_report.bin"),
    );
    assert.ok(hex(mrTd).startsWith("75f3acc2e1df"));
    assert.ok(isZero(rtmr0));
    assert.ok(hex(reportData).startsWith("e8f0796193ba21d6"));
  });

  it("junk is refused, never thrown", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.string(), (junk, text) => {
        attempt(() => parseHclReport(junk));
        attempt(() => parseRuntimeData(junk));
        attempt(() => parseRuntimeData(Buffer.from(text)));
      }),
    );
  });
});
