/** The public entry: kinds of evidence, what is remembered, what never is; attestation results. */
import assert from "node:assert/strict";
import { appraise, AppraisalCache, PREDICATES, type Appraisal } from "../../agent/attest/appraise.ts";
import type { Crypto } from "../../agent/attest/crypto.ts";
import { dimensionOf, EAR_PROFILE, toEar } from "../../agent/attest/ear.ts";
import { ccaPolicy, type CcaPolicy } from "../../agent/attest/cca/policy.ts";
import { verifyCca, type CcaInput } from "../../agent/attest/cca/verify.ts";
import { hex } from "../../agent/attest/bytes.ts";
import { Checks, failures, type ClaimValue } from "../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { amdCa, certificateTable, signReport, SERIAL } from "../twin/amd-ca.ts";
import { CcaPlatform, pointOf } from "../twin/cca.ts";
import { newKey, TWIN_TIME } from "../twin/intel-ca.ts";
import { MEASUREMENT, strictPolicy, type Change } from "./snp/policies.ts";
import { affirmingBut, EAR_OPTIONS, throughout, vectorOf } from "./ear.ts";
import { appraise as appraiseTdx, ca as intel, COLLATERAL, twinPolicy } from "./tdx/twin.ts";
import { vector } from "./vectors.ts";

const ca = amdCa("Genoa");
const vek = ca.issue();
const REPORT_DATA = new Uint8Array(64).fill(1);
const HOST_DATA = new Uint8Array(32).fill(2);
const AT = Date.parse("2026-06-01T00:00:00Z");

interface Counted extends Crypto {
  readonly calls: string[];
}

function counting(): Counted {
  const crypto = nodeCrypto();
  const calls: string[] = [];
  return {
    calls,
    digest: (algorithm, data) => crypto.digest(algorithm, data),
    verify: (algorithm, ...rest) => {
      calls.push(algorithm);
      return crypto.verify(algorithm, ...rest);
    },
  };
}

function appraisal(crypto: Crypto, change: Partial<Appraisal> = {}): Appraisal {
  const report = signReport(
    {
      product: "Genoa",
      reportData: REPORT_DATA,
      hostData: HOST_DATA,
      measurement: Buffer.from(MEASUREMENT, "hex"),
    },
    vek,
  );
  return {
    evidence: {
      tee: "sev-snp",
      report,
      auxiliary: certificateTable({ vcek: vek.der }),
      eventLog: new Uint8Array(0),
    },
    collateral: { snp: { Genoa: ca.collateral() } },
    policy: strictPolicy(ca),
    at: AT,
    expect: { reportData: REPORT_DATA, initdata: { sha256: HOST_DATA, sha384: new Uint8Array(48) } },
    crypto,
    ...change,
  };
}

function ccaPolicyOf(platform: CcaPlatform): CcaPolicy {
  const skip = { unchecked: "not the point" };
  return ccaPolicy.parse({
    platforms: [{ instanceId: hex(platform.instanceId), key: hex(pointOf(platform.key)) }],
    implementationId: skip,
    config: skip,
    softwareComponents: skip,
    lifecycle: "secured",
    initialMeasurement: skip,
    extensibleMeasurements: [skip, skip, skip, skip],
    personalization: "initdata",
  });
}

describe("appraise", () => {
  for (const tee of ["", "sgx", "tdx", "SEV-SNP", "x".repeat(1000), "__proto__"])
    it(`refuses a TEE "${tee.slice(0, 20)}" that the policy does not allow`, async () => {
      const input = appraisal(nodeCrypto());
      const verdict = await appraise({ ...input, evidence: { ...input.evidence, tee } });
      assert.equal(verdict.accepted, false);
      assert.deepEqual(failures(verdict), ["evidence.tee"]);
      assert.equal(verdict.predicates[0]?.expected, "sev-snp");
      assert.ok(verdict.tee.length <= 64);
    });

  it("refuses SNP where it is denied", async () => {
    const policy = { ...strictPolicy(ca), tees: { "sev-snp": "denied", tdx: "denied" } } as const;
    assert.deepEqual(failures(await appraise(appraisal(nodeCrypto(), { policy }))), ["evidence.tee"]);
  });

  it("TDX quotes and CCA tokens are judged by their own part of the policy", async () => {
    const platform = new CcaPlatform();
    const strict = strictPolicy(ca);
    const policy = {
      ...strict,
      tees: { ...strict.tees, tdx: twinPolicy(), "arm-cca": ccaPolicyOf(platform) },
    };
    const quote = intel.quote();
    const crypto = nodeCrypto();
    const input = appraisal(crypto, { policy, at: TWIN_TIME, cache: new AppraisalCache(crypto) });
    const none = new Uint8Array(0);
    const tdx: Appraisal = {
      ...input,
      evidence: { tee: "tdx", report: quote, auxiliary: none, eventLog: none },
      collateral: { snp: {}, tdx: COLLATERAL },
      expect: {
        reportData: new Uint8Array(64),
        initdata: { sha256: new Uint8Array(32), sha384: new Uint8Array(48) },
      },
    };
    assert.deepEqual(failures(await appraise(tdx)), []);
    // without collateral nothing is taken for granted
    const bare = await appraise({ ...tdx, collateral: { snp: {} }, cache: undefined });
    assert.equal(bare.accepted, false);
    for (const code of ["tdx.tcb-info.format", "tdx.qe-identity.format", "tdx.root-crl.format"])
      assert.ok(failures(bare).includes(code), failures(bare).join());
    const logged = {
      ...tdx,
      evidence: { ...tdx.evidence, eventLog: vector("trustee/eventlog/CCEL_data_csv") },
    };
    const demanding = { ...policy, tees: { ...policy.tees, tdx: twinPolicy({ eventLog: "replay" }) } };
    assert.deepEqual(failures(await appraise({ ...logged, policy: demanding })), ["tdx.event-log.format"]);
    assert.deepEqual(failures(await appraise({ ...tdx, policy: demanding })), ["tdx.event-log.format"]);
    const cca = { ...tdx, evidence: { ...tdx.evidence, tee: "arm-cca", report: platform.token() } };
    assert.deepEqual(failures(await appraise(cca)), []);
    // one TEE's evidence under another's name
    for (const [tee, report] of [
      ["tdx", input.evidence.report],
      ["sev-snp", quote],
      ["arm-cca", quote],
    ] as const) {
      const verdict = await appraise({ ...tdx, evidence: { ...tdx.evidence, tee, report } });
      assert.equal(verdict.accepted, false);
    }
  });

  it("a verdict is written as JSON with its predicates, long lists cut", async () => {
    const measurements = Array.from({ length: 9 }, (_, i) => `0${i}`.repeat(48));
    const policy = strictPolicy(ca, (snp) => ({ ...snp, measurement: { anyOf: measurements } }));
    const verdict = await appraise(appraisal(nodeCrypto(), { policy }));
    const written: unknown = JSON.parse(JSON.stringify(verdict));
    assert.ok(
      typeof written === "object" && written !== null && "predicates" in written && "claims" in written,
    );
    const failed = verdict.predicates.find(({ ok }) => !ok);
    assert.equal(failed?.code, "snp.measurement");
    assert.ok(failed.expected.endsWith(" or one of 5 more"), failed.expected);
  });

  it("verifies each signature once with a cache, the report's each time", async () => {
    const crypto = counting();
    const cache = new AppraisalCache(crypto);
    const collateral = { snp: { Genoa: ca.collateral() } };
    assert.ok((await appraise(appraisal(crypto, { cache, collateral }))).accepted);
    assert.deepEqual(crypto.calls.toSorted(), [
      "ecdsa-p384-sha384",
      "rsa-pss-sha384",
      "rsa-pss-sha384",
      "rsa-pss-sha384",
    ]);
    crypto.calls.length = 0;
    assert.ok((await appraise(appraisal(crypto, { cache, collateral }))).accepted);
    assert.deepEqual(crypto.calls, ["ecdsa-p384-sha384"]);
    crypto.calls.length = 0;
    assert.ok((await appraise(appraisal(crypto, { collateral }))).accepted);
    assert.equal(crypto.calls.length, 4);
  });

  it("never remembers time, revocation, TCB or policy", async () => {
    const crypto = counting();
    const cache = new AppraisalCache(crypto);
    assert.ok((await appraise(appraisal(crypto, { cache }))).accepted);
    const verdictOf = async (change: Partial<Appraisal>): Promise<string[]> =>
      failures(await appraise(appraisal(crypto, { cache, ...change })));
    assert.deepEqual(await verdictOf({ at: Date.parse("2035-01-01T00:00:00Z") }), [
      "snp.validity",
      "snp.crl-current",
    ]);
    assert.deepEqual(
      await verdictOf({ collateral: { snp: { Genoa: ca.collateral(ca.crl({ revoked: [SERIAL.ask] })) } } }),
      ["snp.revocation"],
    );
    const policy = strictPolicy(ca, (snp) => ({ ...snp, vmpl: { anyOf: [3] } }));
    assert.deepEqual(await verdictOf({ policy }), ["snp.vmpl"]);
    assert.deepEqual(await verdictOf({}), []);
  });

  it("a wrong signature is asked again each time, and pushes nothing out", async () => {
    const crypto = counting();
    const cache = new AppraisalCache(crypto, { maxEntries: 4 });
    assert.ok((await appraise(appraisal(crypto, { cache }))).accepted);
    const forged = ca.issue({ signWith: ca.asvk.key });
    for (let i = 0; i < 10; i++) {
      const input = appraisal(crypto, { cache });
      const evidence = { ...input.evidence, auxiliary: certificateTable({ vcek: forged.der }) };
      assert.ok(failures(await appraise({ ...input, evidence })).includes("snp.certificate-signature"));
    }
    crypto.calls.length = 0;
    assert.ok((await appraise(appraisal(crypto, { cache }))).accepted);
    assert.deepEqual(crypto.calls.filter((call) => call === "rsa-pss-sha384").length, 1); // the new CRL's
  });

  it("the cache is bounded, and what has expired leaves it first", async () => {
    const crypto = counting();
    const cache = new AppraisalCache(crypto, { maxEntries: 3 });
    for (let i = 0; i < 6; i++) {
      const other = ca.issue();
      const report = signReport(
        {
          product: "Genoa",
          reportData: REPORT_DATA,
          hostData: HOST_DATA,
          measurement: Buffer.from(MEASUREMENT, "hex"),
        },
        other,
      );
      const input = appraisal(crypto, { cache });
      const evidence = { ...input.evidence, report, auxiliary: certificateTable({ vcek: other.der }) };
      assert.ok((await appraise({ ...input, evidence })).accepted);
    }
    assert.ok((await appraise(appraisal(crypto, { cache }))).accepted);
  });

  it("a cache of another crypto is a defect of the caller", async () => {
    await assert.rejects(
      appraise(appraisal(nodeCrypto(), { cache: new AppraisalCache(nodeCrypto()) })),
      /another Crypto/,
    );
  });

  it("input that changes while signatures are verified changes nothing", async () => {
    const input = appraisal(nodeCrypto());
    const pending = appraise(input);
    input.evidence.report.fill(0);
    input.evidence.auxiliary.fill(0);
    const verdict = await pending;
    assert.ok(verdict.accepted);
    assert.equal(verdict.claims["measurement"], MEASUREMENT);
  });

  it("explains each code that it gives", async () => {
    const verdict = await appraise(appraisal(nodeCrypto()));
    for (const { code } of verdict.predicates) assert.ok((PREDICATES[code] ?? "").length > 10, code);
  });
});

const appraisalOf = (ear: {
  readonly [name: string]: ClaimValue;
}): { readonly [name: string]: ClaimValue } => {
  const submods = ear["submods"];
  assert.ok(typeof submods === "object" && !Array.isArray(submods));
  const [one] = Object.values(submods);
  assert.ok(typeof one === "object" && !Array.isArray(one));
  return Object.fromEntries(Object.entries(one));
};

describe("EAR", () => {
  const options = EAR_OPTIONS;
  it("affirms what is accepted", async () => {
    const ear = toEar(await appraise(appraisal(nodeCrypto())), { ...options, nonce: new Uint8Array(8) });
    assert.equal(ear["eat_profile"], EAR_PROFILE);
    assert.equal(ear["eat_nonce"], "00".repeat(8));
    const one = appraisalOf(ear);
    assert.equal(one["ear.status"], "affirming");
    assert.deepEqual(one["ear.trustworthiness-vector"], affirmingBut({}));
  });

  it("contraindicates what is refused, in its dimension", async () => {
    const measured = appraisalOf(
      toEar(
        await appraise(
          appraisal(nodeCrypto(), {
            policy: strictPolicy(ca, (snp) => ({ ...snp, measurement: { anyOf: ["00".repeat(48)] } })),
          }),
        ),
        options,
      ),
    );
    assert.equal(measured["ear.status"], "contraindicated");
    assert.deepEqual(measured["sealet.failed"], ["snp.measurement"]);
    assert.deepEqual(measured["ear.trustworthiness-vector"], affirmingBut({ executables: 96 }));
  });

  it("affirms nothing where a signature is wrong, or was not reached", async () => {
    const changed = appraisal(nodeCrypto());
    changed.evidence.report[0x140] = 0xff; // of the report id
    assert.deepEqual(vectorOf(await appraise(changed)), throughout(99));
    const policy = strictPolicy(ca, (snp) => ({ ...snp, measurement: { anyOf: ["00".repeat(48)] } }));
    const short = await appraise(appraisal(nodeCrypto(), { policy, brief: true }));
    assert.deepEqual(vectorOf(short), { ...throughout(0), executables: 96 });
    const quote = intel.quote({ signQuoteWith: newKey() });
    assert.deepEqual(vectorOf(await appraiseTdx(quote)), throughout(99));
    const unnamed = intel.quote({ qeReport: { reportData: new Uint8Array(64) } });
    assert.deepEqual(vectorOf(await appraiseTdx(unnamed)), throughout(99));
  });

  it("affirms executables only of a launch that was measured", async () => {
    const skip = { unchecked: "not the point" };
    const policy = strictPolicy(ca, (snp) => ({ ...snp, measurement: skip }));
    const verdict = await appraise(appraisal(nodeCrypto(), { policy }));
    assert.equal(verdict.accepted, true);
    assert.deepEqual(vectorOf(verdict), affirmingBut({ executables: 0 }));
    assert.equal(appraisalOf(toEar(verdict, options))["ear.status"], "none");
    const td = await appraiseTdx(intel.quote(), { policy: twinPolicy({ mrTd: skip }) });
    assert.equal(td.accepted, true);
    assert.deepEqual(vectorOf(td), affirmingBut({ executables: 0 }));
    assert.deepEqual(vectorOf(await appraiseTdx(intel.quote())), affirmingBut({}));
  });

  it("affirms identity only of evidence that is bound to the request", async () => {
    const look = { reportData: { unchecked: "a look" } };
    const vlek = ca.issue({ kind: "VLEK" });
    const measurement = Buffer.from(MEASUREMENT, "hex");
    const input = appraisal(nodeCrypto());
    const verdict = await appraise({
      ...input,
      evidence: {
        ...input.evidence,
        report: signReport({ product: "Genoa", hostData: HOST_DATA, measurement }, vlek),
        auxiliary: certificateTable({ vlek: vlek.der }),
      },
      expect: { ...input.expect, ...look },
    });
    assert.equal(verdict.accepted, true);
    assert.deepEqual(vectorOf(verdict), affirmingBut({ "instance-identity": 0 }));
    const td = await appraiseTdx(intel.quote(), { expect: { ...look, initdataDigest: new Uint8Array(48) } });
    assert.deepEqual(vectorOf(td), affirmingBut({ "instance-identity": 0 }));
  });

  it("a realm's: by what each of its predicates speaks of", async () => {
    const platform = new CcaPlatform();
    const initial = { anyOf: [hex(new Uint8Array(32).fill(8))] };
    const realmOf = (
      change: { policy?: Partial<CcaPolicy>; expect?: Partial<CcaInput["expect"]> } = {},
      token = platform.token(),
    ): Promise<Record<string, ClaimValue>> =>
      verifyCca({
        token,
        policy: { ...ccaPolicyOf(platform), initialMeasurement: initial, ...change.policy },
        expect: { reportData: new Uint8Array(64), initdataDigest: new Uint8Array(48), ...change.expect },
        crypto: nodeCrypto(),
      }).then(vectorOf);
    assert.deepEqual(await realmOf(), affirmingBut({}));
    const skip = { unchecked: "not the point" };
    assert.deepEqual(
      await realmOf({ policy: { initialMeasurement: skip } }),
      affirmingBut({ executables: 0 }),
    );
    assert.deepEqual(
      await realmOf({ expect: { reportData: skip } }),
      affirmingBut({ "instance-identity": 0 }),
    );
    const other = new Uint8Array(64).fill(1);
    assert.deepEqual(
      await realmOf({ expect: { reportData: other } }),
      affirmingBut({ "instance-identity": 96 }),
    );
    const disk = { initdataDigest: new Uint8Array(48).fill(1) };
    assert.deepEqual(await realmOf({ expect: disk }), affirmingBut({ configuration: 96 }));
    assert.deepEqual(await realmOf({}, new CcaPlatform().token()), throughout(99));
  });

  const uncheckedOf = async (change: Change): Promise<unknown> => {
    const verdict = await appraise(appraisal(nodeCrypto(), { policy: strictPolicy(ca, change) }));
    return appraisalOf(toEar(verdict, options))["sealet.unchecked"];
  };

  it("names what the policy leaves unchecked, whole groups too", async () => {
    const skip = { unchecked: "not the point" };
    const rest = ["snp.chip-allowed", "snp.mitigations"];
    assert.deepEqual(await uncheckedOf((snp) => snp), rest);
    assert.deepEqual(
      await uncheckedOf((snp) => ({
        ...snp,
        platform: { ...snp.platform, ecc: skip, aliasCheckComplete: skip },
      })),
      ["snp.platform", ...rest],
    );
  });

  it("affirms nothing that was not looked at", async () => {
    const input = appraisal(nodeCrypto());
    const verdict = await appraise({ ...input, evidence: { ...input.evidence, report: new Uint8Array(3) } });
    const one = appraisalOf(toEar(verdict, options));
    assert.equal(one["ear.status"], "contraindicated");
    assert.ok(!Object.values(one["ear.trustworthiness-vector"] ?? {}).includes(2));
    const silent = appraisalOf(toEar(new Checks().verdict("tdx", [], {}), options));
    assert.equal(silent["ear.status"], "none");
    assert.equal(dimensionOf("tdx.td.rtmr2"), "executables");
    assert.equal(dimensionOf("tdx.tcb.status"), "hardware");
    assert.deepEqual(
      vectorOf(await appraise({ ...input, evidence: { ...input.evidence, tee: "__proto__" } })),
      {
        ...throughout(0),
        hardware: 96,
      },
    );
  });
});
