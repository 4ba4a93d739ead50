/** `sealet policy example`: valid, strict, closed until an operator puts own values in; and what it lets through then. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appraise, type Appraisal } from "../../agent/attest/appraise.ts";
import { checkPolicy, parsePolicy, type Policy } from "../../agent/attest/policy.ts";
import { isUnchecked } from "../../agent/attest/policy-fields.ts";
import type { Verdict } from "../../agent/attest/verdict.ts";
import { EXIT } from "../../agent/cli/exit.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { GENUINE } from "../attest/tdx/genuine.ts";
import { ca as intel, ZERO } from "../attest/tdx/twin.ts";
import { vector } from "../attest/vectors.ts";
import { amdCa, certificateTable, signReport, type ReportFields } from "../twin/amd-ca.ts";
import { OLD_TCB, type QuoteOptions, TWIN_TIME } from "../twin/intel-ca.ts";
import { run } from "./run.ts";

const MEASURED = "ab".repeat(48);
const ONES = new Uint8Array(48).fill(1);
const crypto = nodeCrypto();
const NONE = new Uint8Array(0);
const expect = { reportData: new Uint8Array(64), initdata: { sha256: NONE, sha384: new Uint8Array(48) } };

async function example(...args: readonly string[]): Promise<{ policy: Policy; err: string }> {
  const { exit, out, err } = await run("policy", "example", "--cluster", "prod", ...args);
  assert.equal(exit, EXIT.OK, err);
  const parsed = parsePolicy(new TextEncoder().encode(out));
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return { policy: parsed.policy, err };
}

const failed = ({ predicates }: Verdict): string[] =>
  predicates.flatMap(({ ok, code }) => (ok ? [] : [code])).toSorted();

/** Where it says "unchecked". */
function gaps(value: unknown, path = ""): string[] {
  if (isUnchecked(value)) return [path.slice(1)];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => gaps(item, `${path}.${key}`));
}

/** What an operator does with an editor; and a twin has a root of its own. */
function edited(policy: Policy, change: (text: string) => string): Policy {
  const checked = checkPolicy(JSON.parse(change(JSON.stringify(policy))));
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.policy;
}
const rooted = (policy: Policy, sha256: string, name: "amd" | "intel"): Policy =>
  edited(policy, (text) =>
    text.replaceAll(`"root":"${name}"`, `"root":{"sha256":"${sha256}","reason":"twin"}`),
  );

function judgeTdx(policy: Policy, change: Partial<Appraisal> = {}): Promise<Verdict> {
  return appraise({
    evidence: { tee: "tdx", report: intel.quote(), auxiliary: NONE, eventLog: NONE },
    collateral: { snp: {}, tdx: intel.collateral() },
    policy: rooted(policy, intel.rootSha256, "intel"),
    at: TWIN_TIME,
    expect,
    crypto,
    ...change,
  });
}

describe("sealet policy example", () => {
  const PRODUCTS = [
    [],
    ["--product", "Milan"],
    ["--product", "Turin", "Genoa"],
    ["--product", "Milan", "Turin"],
  ];
  for (const args of [
    ["--tee", "tdx"],
    ["--tee", "tdx", "--measurement", MEASURED],
    ...PRODUCTS.flatMap((product) => [
      ["--tee", "sev-snp", ...product],
      ["--tee", "sev-snp", ...product, "--measurement", MEASURED, "cd".repeat(48)],
      ["--tee", "sev-snp", "tdx", ...product],
    ]),
  ])
    it(`is valid, and the same as JSON: ${args.join(" ").replaceAll(/[0-9a-f]{96}/gu, "HEX")}`, async () => {
      const { policy } = await example(...args);
      assert.equal(policy.version, 1);
      const json = await run("policy", "example", "--cluster", "prod", ...args, "-o", "json");
      assert.deepEqual(JSON.parse(json.out), policy);
      assert.equal(json.err, "");
      for (const tee of ["sev-snp", "tdx"] as const)
        assert.equal(policy.tees[tee] === "denied", !args.includes(tee));
      assert.deepEqual(Object.keys(policy.tees), ["sev-snp", "tdx"], "others are denied by their absence");
    });

  it("is what 'policy check' takes", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sealet-example-"));
    try {
      const file = join(folder, "policy.json");
      writeFileSync(file, (await run("policy", "example", "--cluster", "prod", "--tee", "sev-snp")).out);
      assert.match((await run("policy", "check", file)).out, /valid: version 1/u);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("leaves these unchecked, and nothing else", async () => {
    const { policy } = await example("--tee", "sev-snp", "tdx");
    const { "sev-snp": snp, tdx } = policy.tees;
    assert.deepEqual(gaps(snp), [
      "products.Genoa.chips",
      ...[
        "abi",
        "smt",
        "singleSocket",
        "memAes256Xts",
        "raplDisabled",
        "ciphertextHiding",
        "pageSwapDisabled",
      ].map((name) => `guestPolicy.${name}`),
      ...["smt", "tsme", "raplDisabled", "ciphertextHiding", "iommuWriteSafe", "tio"].map(
        (name) => `platform.${name}`,
      ),
      ...["guestSvn", "idKeyDigest", "authorKeyDigest", "familyId", "imageId", "mitigations"],
    ]);
    assert.deepEqual(gaps(tdx), [
      ...["tcb.minimumDate", "platform.allowed", "platform.configuration"],
      ...["mrSeam", "mrOwner", "mrOwnerConfig", "eventLog"],
    ]);
  });

  it("has the minima that are shipped, and says where there are none", async () => {
    const { policy } = await example("--tee", "sev-snp", "--product", "Milan", "Genoa", "Turin");
    assert.ok(policy.tees["sev-snp"] !== "denied");
    const { Milan, Genoa, Turin } = policy.tees["sev-snp"].products;
    assert.ok(Milan !== "denied" && Genoa !== "denied" && Turin !== "denied");
    const none = { bootloader: 0, tee: 0, microcode: 0 };
    assert.deepEqual(Milan.minimumTcb, { ...none, snp: 0x18 });
    assert.deepEqual(Genoa.minimumTcb, { ...none, snp: 0x17 });
    assert.deepEqual(Genoa.minimumLaunchTcb, Genoa.minimumTcb);
    assert.deepEqual(Milan.minimumFirmware, { major: 1, minor: 55, build: 22 });
    assert.deepEqual(Genoa.minimumFirmware, { major: 1, minor: 55, build: 38 });
    for (const floor of [Turin.minimumTcb, Turin.minimumLaunchTcb, Turin.minimumFirmware])
      assert.match(JSON.stringify(floor), /ships no minimum for Turin \(\d{4}-/u);
    assert.deepEqual(Milan.chips, { anyOf: ["ff".repeat(64)] }, "its root seed is known");
  });

  it("says what is to be put in, where, and where it comes from", async () => {
    const open = await example("--tee", "sev-snp", "tdx", "--product", "Milan");
    const paths = [...open.err.matchAll(/^ {2}(tees\.\S+)$/gmu)].map(([, path]) => path);
    assert.deepEqual(paths, [
      "tees.sev-snp.products.Milan.chips.anyOf.0",
      "tees.sev-snp.measurement.anyOf.0",
      "tees.tdx.mrTd.anyOf.0",
      ...[0, 1, 2].map((register) => `tees.tdx.rtmr.${register}.anyOf.0`),
    ]);
    assert.match(open.err, /sealet audit list -o json[^]*explain EVIDENCE[^]*a build of your own/u);
    const { policy, err } = await example("--tee", "sev-snp", "--measurement", MEASURED.toUpperCase());
    assert.match(
      err,
      /^On SEV-SNP the measurement covers the image only where it was launched with kernel hashes/u,
    );
    assert.ok(policy.tees["sev-snp"] !== "denied");
    assert.deepEqual(policy.tees["sev-snp"].measurement, { anyOf: [MEASURED] });
  });

  for (const [what, ...args] of [
    ["no TEE", "--measurement", MEASURED],
    ["a TEE that it has no example of", "--tee", "azure"],
    ["a product of another TEE", "--tee", "tdx", "--product", "Genoa"],
    ["a product that is none", "--tee", "sev-snp", "--product", "Rome"],
    ["a measurement that is none", "--tee", "sev-snp", "--measurement", "abcd"],
    ["one TEE's measurement for both", "--tee", "sev-snp", "tdx", "--measurement", MEASURED],
  ])
    it(`refuses ${what}`, async () => {
      const { exit, out, err } = await run("policy", "example", "--cluster", "prod", ...args);
      assert.equal(exit, EXIT.USAGE);
      assert.equal(out, "");
      assert.match(err, /--(?:tee|product|measurement)/u);
    });
});

describe("A node under the example", () => {
  const at = Date.parse("2026-12-01T00:00:00Z");
  const ca = amdCa("Genoa");
  const vek = ca.issue();
  const crl = ca.crl({ thisUpdate: new Date("2026-11-15"), nextUpdate: new Date("2027-01-01") });

  function judgeSnp(policy: Policy, fields: Partial<ReportFields> = {}, list = crl): Promise<Verdict> {
    const hostData = new Uint8Array(32).fill(0x22);
    const good = { product: "Genoa" as const, hostData, measurement: Buffer.from(MEASURED, "hex") };
    const report = signReport({ ...good, ...fields }, vek);
    const auxiliary = new Uint8Array(certificateTable({ vcek: vek.der }));
    return appraise({
      evidence: { tee: "sev-snp", report, auxiliary, eventLog: NONE },
      collateral: { snp: { Genoa: ca.collateral(list) } },
      policy: rooted(policy, ca.arkSha256, "amd"),
      at,
      expect: { ...expect, initdata: { ...expect.initdata, sha256: hostData } },
      crypto,
    });
  }

  it("SNP: is refused for its measurement alone, and accepted once that is put in", async () => {
    const { policy } = await example("--tee", "sev-snp");
    for (const measurement of [Buffer.from(MEASURED, "hex"), new Uint8Array(48)])
      assert.deepEqual(failed(await judgeSnp(policy, { measurement })), ["snp.measurement"]);
    const own = edited(policy, (text) => text.replace("ff".repeat(48), MEASURED));
    const verdict = await judgeSnp(own);
    assert.ok(verdict.accepted, failed(verdict).join());
    assert.ok(
      (await judgeSnp((await example("--tee", "sev-snp", "--measurement", MEASURED)).policy)).accepted,
    );
  });

  const BAD: readonly (readonly [what: string, fields: Partial<ReportFields>, ...codes: string[]])[] = [
    ["debugging", { policy: 0xb0000n }, "snp.guest-policy"],
    ["migration", { policy: 0x70000n }, "snp.guest-policy"],
    ["CXL memory", { policy: 0x230000n }, "snp.guest-policy"],
    ["a migration agent", { reportIdMa: new Uint8Array(32) }, "snp.migration-agent"],
    ["VMPL 1", { vmpl: 1 }, "snp.vmpl"],
    ["another's initdata", { hostData: new Uint8Array(32) }, "snp.host-data"],
    ["memory without ECC", { platformInfo: 0x21n }, "snp.platform"],
    ["aliases not looked for", { platformInfo: 0x05n }, "snp.platform"],
    ["an old launch", { launchTcb: { snp: 0x16 } }, "snp.minimum-launch-tcb"],
    ["firmware that may go back", { currentBuild: 41 }, "snp.provisional-firmware"],
    ["old firmware", { committedBuild: 37, currentBuild: 37 }, ...["snp.bulletins", "snp.minimum-firmware"]],
  ];
  for (const [what, fields, ...codes] of BAD)
    it(`SNP: is refused for ${what}`, async () => {
      const { policy } = await example("--tee", "sev-snp", "--measurement", MEASURED);
      assert.deepEqual(failed(await judgeSnp(policy, fields)), codes);
    });

  it("SNP: is refused under a revocation list from before, on another product, and as TDX", async () => {
    const { policy } = await example("--tee", "sev-snp", "--measurement", MEASURED);
    const old = ca.crl({ thisUpdate: new Date("2026-08-01") });
    assert.deepEqual(failed(await judgeSnp(policy, {}, old)), ["snp.crl-current"]);
    const turin = await example("--tee", "sev-snp", "--product", "Turin", "--measurement", MEASURED);
    assert.ok(failed(await judgeSnp(turin.policy)).includes("snp.product-allowed"));
    assert.deepEqual(failed(await judgeTdx(policy)), ["evidence.tee"]);
  });

  const REGISTERS = ["tdx.td.mr-td", "tdx.td.rtmr0", "tdx.td.rtmr1", "tdx.td.rtmr2"];

  it("TDX: is refused for its registers alone, and accepted once they are put in", async () => {
    const { policy } = await example("--tee", "tdx");
    assert.deepEqual(failed(await judgeTdx(policy)), REGISTERS);
    const verdict = await judgeTdx(edited(policy, (text) => text.replaceAll("ff".repeat(48), ZERO)));
    assert.ok(verdict.accepted, failed(verdict).join());
    const given = await example("--tee", "tdx", "--measurement", ZERO);
    assert.deepEqual(failed(await judgeTdx(given.policy)), REGISTERS.slice(1));
  });

  const SEPT_VE_DISABLE = 1n << 28n;
  const BAD_TDS: readonly (readonly [what: string, quote: QuoteOptions, ...codes: string[]])[] = [
    ["debugging", { td: { tdAttributes: SEPT_VE_DISABLE | 1n } }, "tdx.td.debug"],
    ["migration", { td: { tdAttributes: SEPT_VE_DISABLE | (1n << 29n) } }, "tdx.td.attributes"],
    ["#VE injected by the host", { td: { tdAttributes: 0n } }, "tdx.td.attributes"],
    ["processor trace", { td: { xfam: 0x1e7n } }, "tdx.td.xfam"],
    ["another's initdata", { td: { mrConfigId: ONES } }, "tdx.td.mr-config-id"],
    ["RTMR 3 extended", { td: { rtmr3: ONES } }, "tdx.td.rtmr3"],
    ["a service TD", { version: 5, bodyType: 3, td: { mrServiceTd: ONES } }, "tdx.td.service-td"],
    ["a device", { version: 5, bodyType: 4, td: { devInfo: ONES } }, "tdx.td.devices"],
    ["an old platform", { pck: intel.pck({ tcb: OLD_TCB }) }, ...["tdx.tcb.advisories", "tdx.tcb.status"]],
  ];
  for (const [what, quote, ...codes] of BAD_TDS)
    it(`TDX: is refused for ${what}`, async () => {
      const { policy } = await example("--tee", "tdx");
      const own = edited(policy, (text) => text.replaceAll("ff".repeat(48), ZERO));
      const evidence = { tee: "tdx", report: intel.quote(quote), auxiliary: NONE, eventLog: NONE };
      assert.deepEqual(failed(await judgeTdx(own, { evidence })), codes);
    });

  it("TDX: a genuine TD is refused for its registers, and for being judged with 2025's collateral", async () => {
    const { policy } = await example("--tee", "tdx");
    const verdict = await judgeTdx(policy, {
      policy,
      evidence: { tee: "tdx", report: vector("dcap-qvl/sample/tdx_quote"), auxiliary: NONE, eventLog: NONE },
      collateral: { snp: {}, tdx: GENUINE.b0c0 },
      at: Date.parse("2025-06-25T00:00:00Z"),
      expect: { ...expect, reportData: { unchecked: "a stranger's" } },
    });
    assert.deepEqual(failed(verdict), ["tdx.collateral.floor", "tdx.tcb.evaluation-number", ...REGISTERS]);
  });
});
