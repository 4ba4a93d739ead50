/** What is rare: odd certificates, documents and configurations; each leads to one predicate, or is said in the claims. */
import assert from "node:assert/strict";
import { parseQeIdentity, parseTcbInfo } from "../../../agent/attest/tdx/documents.ts";
import { SGX_EXTENSION } from "../../../agent/attest/tdx/pck.ts";
import { failures, type Verdict } from "../../../agent/attest/verdict.ts";
import * as der from "../../twin/der.ts";
import {
  defaultQeIdentity,
  defaultTcbInfo,
  FMSPC,
  pem,
  type PckOptions,
  type QuoteOptions,
} from "../../twin/intel-ca.ts";
import { appraise, bytesOf, ca, COLLATERAL, signedBy, twinPolicy } from "./twin.ts";

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const found = (verdict: Verdict, code: string): string | undefined =>
  verdict.predicates.find((predicate) => predicate.code === code)?.found;
const withPck = (options: PckOptions): QuoteOptions => ({ pck: ca.pck(options) });
const field = (arc: string, value: Uint8Array): Uint8Array =>
  der.sequence(der.oid(`${SGX_EXTENSION}.${arc}`), value);
const replaced =
  (at: number, value: Uint8Array) =>
  (list: Uint8Array[]): Uint8Array[] =>
    list.map((entry, i) => (i === at ? value : entry));

async function configurationOf(options: PckOptions): Promise<unknown> {
  const { platform } = (await appraise(ca.quote(withPck(options)))).claims;
  return Object.entries(platform ?? {}).find(([name]) => name === "configuration")?.[1];
}

describe("TDX: odd PCK certificates", () => {
  const wrong: readonly (readonly [what: string, options: PckOptions])[] = [
    [
      "a TCB field that is not known",
      { fields: replaced(1, field("2", der.sequence(field("2.19", der.integer(1))))) },
    ],
    ["a fourth configuration", { configuration: [true, false, true, true] }],
    ["an SGX type that is not known", { fields: replaced(4, field("5", der.tlv(0x0a, Uint8Array.of(9)))) }],
    ["an SGX type of two bytes", { fields: replaced(4, field("5", der.tlv(0x0a, Uint8Array.of(0, 1)))) }],
  ];
  for (const [what, options] of wrong)
    it(what, async () => {
      const verdict = await appraise(ca.quote(withPck(options)));
      assert.deepEqual(failures(verdict), ["tdx.pck.format"]);
      assert.equal(verdict.accepted, false);
    });

  it("a platform of a Processor CA has no configuration, one with none set has it empty", async () => {
    assert.deepEqual(await configurationOf({ kind: "processor" }), []);
    assert.deepEqual(await configurationOf({ configuration: [false, false, false] }), []);
    assert.deepEqual(await configurationOf({}), ["dynamicPlatform", "smtEnabled"]);
  });

  it("a CA of another name is none, and the claims say that it is unknown", async () => {
    const other = ca.ca("platform", { subject: "Intel SGX PCK Cloud CA", key: ca.platform.key });
    const pck = ca.pck({ issuer: "Intel SGX PCK Cloud CA" });
    const verdict = await appraise(ca.quote({ pck, chain: pem(pck.der, other.der, ca.root.der) }));
    assert.deepEqual(
      Object.entries(verdict.claims["platform"] ?? {}).find(([name]) => name === "ca"),
      ["ca", "unknown"],
    );
    assert.equal(found(verdict, "tdx.pck.names"), 'CA is "Intel SGX PCK Cloud CA"');
    assert.equal(verdict.accepted, false);
  });
});

describe("TDX: odd collateral", () => {
  it("an issuer chain of one certificate, or of three", async () => {
    const [document] = [...COLLATERAL.tcbInfo.values()];
    assert.ok(document);
    const { tcbSigner, root, platform } = ca;
    for (const chain of [
      [tcbSigner.der],
      [tcbSigner.der, root.der, root.der],
      [tcbSigner.der, platform.der, root.der],
    ]) {
      const issuerChain = new TextEncoder().encode(pem(...chain));
      const verdict = await appraise(ca.quote(), {
        collateral: { ...COLLATERAL, tcbInfo: new Map([[FMSPC, { ...document, issuerChain }]]) },
      });
      assert.deepEqual(failures(verdict), ["tdx.tcb-info.format"]);
      assert.ok(verdict.notEvaluated.includes("tdx.tcb.status"));
    }
  });

  it("a signer with a critical extension that nobody knows", async () => {
    const signer = ca.signer({ extensions: (list) => [...list, der.extension("1.2.3.4", der.nul(), true)] });
    for (const which of ["tcbInfo", "qeIdentity"] as const) {
      const verdict = await appraise(ca.quote(), signedBy(which, signer));
      assert.deepEqual(failures(verdict), [
        which === "tcbInfo" ? "tdx.tcb-info.signer" : "tdx.qe-identity.signer",
      ]);
    }
  });

  it("rightly signed documents that are not as Intel's are refused", () => {
    const level = defaultTcbInfo().tcbLevels[0];
    assert.ok(level);
    const components = (list: readonly unknown[]) => ({
      tcbLevels: [{ ...level, tcb: { ...level.tcb, tdxtcbcomponents: list } }],
    });
    const sixteen = (odd: unknown): unknown[] => [...level.tcb.tdxtcbcomponents.slice(1), odd];
    for (const change of [
      { issueDate: "2026-13-01T00:00:00Z" },
      { nextUpdate: "2026-06-19" },
      components(sixteen(null)),
      components(sixteen(3)),
      components(sixteen({ svn: 256 })),
      components(sixteen({ svn: 1.5 })),
      components(sixteen({ svn: "1" })),
      components(level.tcb.tdxtcbcomponents.slice(1)),
    ])
      assert.throws(() => parseTcbInfo(bytes({ ...defaultTcbInfo(), ...change })), { name: "Malformed" });
    assert.throws(
      () => parseQeIdentity(bytes({ ...defaultQeIdentity(), issueDate: "2026-01-01T25:00:00Z" })),
      {
        code: "UNEXPECTED",
      },
    );
    for (const parse of [parseTcbInfo, parseQeIdentity])
      assert.throws(() => parse(Buffer.from("{")), { code: "ENCODING" });
    for (const junk of [null, [], 1]) assert.throws(() => parseTcbInfo(bytes(junk)), { code: "UNEXPECTED" });
  });

  it("without any collateral nothing is held against the floor", async () => {
    const none = { tcbInfo: new Map(), qeIdentity: undefined, rootCrl: undefined, pckCrl: {} };
    const verdict = await appraise(ca.quote(), { collateral: none });
    assert.equal(verdict.accepted, false);
    assert.ok(verdict.notEvaluated.includes("tdx.collateral.floor"));
    const unchecked = await appraise(ca.quote(), {
      collateral: none,
      policy: twinPolicy({ collateral: { unchecked: "a look" } }),
    });
    assert.equal(unchecked.accepted, false);
    assert.equal(typeof found(unchecked, "tdx.collateral.floor"), "string");
  });
});

describe("TDX: what a policy leaves open", () => {
  it("a look that is bound to no request says so", async () => {
    const verdict = await appraise(ca.quote({ td: { reportData: bytesOf(9, 64) } }), {
      expect: { reportData: { unchecked: "a look" }, initdataDigest: new Uint8Array(48) },
    });
    assert.equal(verdict.accepted, true);
    assert.equal(found(verdict, "tdx.td.report-data"), "09".repeat(64));
  });

  it("no attribute is required, and none allowed", async () => {
    const policy = twinPolicy({ attributes: { required: [], allowed: [] } });
    const verdict = await appraise(ca.quote(), { policy });
    assert.deepEqual(failures(verdict), ["tdx.td.attributes"]);
    const predicate = verdict.predicates.find(({ code }) => code === "tdx.td.attributes");
    assert.equal(predicate?.expected, "set: none; beside them at most: none");
    assert.equal((await appraise(ca.quote({ td: { tdAttributes: 0n } }), { policy })).accepted, true);
  });

  it("a platform that has none of the settings", async () => {
    const policy = twinPolicy({ platform: { ...twinPolicy().platform, configuration: { allowed: [] } } });
    const verdict = await appraise(ca.quote(withPck({ configuration: [false, false, false] })), { policy });
    assert.deepEqual(failures(verdict), []);
    assert.equal(found(verdict, "tdx.platform.configuration"), "none");
  });
});
