import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import {
  COLLATERAL_PAYLOAD_TYPE,
  encodeBundle,
  isAhead,
  issuedTimes,
  newest,
  parseBundle,
  rolledBack,
} from "../../agent/attest/collateral-bundle.ts";
import { keyId, openEnvelope, preAuthEncoding } from "../../agent/attest/dsse.ts";
import { FMSPC, SERIAL } from "../twin/intel-ca.ts";
import { appraise, ca, COLLATERAL, crypto } from "./tdx/twin.ts";

const CREATED = "2026-06-01T00:00:00Z";
const milan = {
  ark: Uint8Array.of(1),
  ask: Uint8Array.of(2),
  asvk: undefined,
  crl: ca.crl("root"),
  vek: undefined,
};
const collateral = { snp: { Milan: milan }, tdx: COLLATERAL };

const codeOf = (text: string): string => {
  const bundle = parseBundle(new TextEncoder().encode(text));
  return bundle.ok ? "OK" : bundle.refusal.code;
};

const deep = (levels: number): string => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;

describe("collateral bundle", () => {
  it("holds all of it, byte for byte, and verifies offline under the operator's signature", async () => {
    const payload = encodeBundle({ version: 3, created: CREATED, collateral });
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
    const sig = sign(null, preAuthEncoding(COLLATERAL_PAYLOAD_TYPE, payload), privateKey).toString("base64");
    const envelope = Buffer.from(
      JSON.stringify({
        payloadType: COLLATERAL_PAYLOAD_TYPE,
        payload: Buffer.from(payload).toString("base64"),
        signatures: [{ keyid: await keyId(crypto, spki), sig }],
      }),
    );
    const opened = await openEnvelope(crypto, envelope, COLLATERAL_PAYLOAD_TYPE, [spki]);
    assert.ok(opened.ok);
    const bundle = parseBundle(opened.payload);
    assert.ok(bundle.ok);
    assert.equal(bundle.value.version, 3);
    assert.deepEqual(bundle.value.collateral.snp.Milan, milan);
    const { tdx } = bundle.value.collateral;
    assert.ok(tdx);
    assert.deepEqual(tdx, COLLATERAL);
    assert.equal((await appraise(ca.quote(), { collateral: tdx })).accepted, true);
    const other = await openEnvelope(crypto, envelope, "application/vnd.sealet.policy+json", [spki]);
    assert.equal(other.ok, false);
  });

  it("without Intel's part it is one too", () => {
    const bundle = parseBundle(encodeBundle({ version: 1, created: CREATED, collateral: { snp: {} } }));
    assert.ok(bundle.ok && bundle.value.collateral.tdx === undefined);
  });

  it("has one form", () => {
    const good: unknown = JSON.parse(
      new TextDecoder().decode(encodeBundle({ version: 1, created: CREATED, collateral })),
    );
    assert.ok(typeof good === "object" && good !== null);
    const bad: readonly object[] = [
      { ...good, format: "sealet.collateral/v2" },
      { ...good, version: 0 },
      { ...good, created: "yesterday" },
      { ...good, more: 1 },
      { ...good, snp: { Venice: {} } },
      { ...good, snp: { Milan: { ark: "*" } } },
      { ...good, tdx: { tcbInfo: { XX: {} }, pckCrl: {} } },
    ];
    for (const value of bad)
      assert.equal(
        parseBundle(new TextEncoder().encode(JSON.stringify(value))).ok,
        false,
        JSON.stringify(value).slice(0, 60),
      );
    for (const junk of ["", "{", "[]", "\u00ff"])
      assert.equal(parseBundle(new TextEncoder().encode(junk)).ok, false);
    assert.equal(parseBundle(Uint8Array.of(0xff)).ok, false);
    assert.equal(parseBundle(new Uint8Array(17 * 1024 * 1024)).ok, false);
  });

  it("is strict JSON: no key twice, however written, and nothing deep", () => {
    const good = new TextDecoder().decode(encodeBundle({ version: 1, created: CREATED, collateral }));
    assert.equal(codeOf(good), "OK");
    assert.equal(codeOf(good.replace('"version":1', '"version":1,"version":2')), "DUPLICATE");
    assert.equal(codeOf(good.replace('"version":1', '"version":1,"v\\u0065rsion":2')), "DUPLICATE");
    assert.equal(codeOf(good.replace('{"ark":', '{"ark":"","ark":')), "DUPLICATE");
    assert.equal(codeOf(deep(65)), "TOO_LARGE");
    assert.equal(codeOf(deep(64)), "UNEXPECTED");
    // one string of nearly all that a bundle may have
    assert.equal(codeOf(good.replace('"ark":"', `"ark":"${"A".repeat(15_000_000)}`)), "UNEXPECTED");
  });

  it("a date that no clock's error explains is ahead", () => {
    const now = Date.parse(CREATED);
    assert.equal(isAhead(now + 600_000, now), false);
    assert.equal(isAhead(now + 600_001, now), true);
    assert.equal(isAhead(0, now), false);
  });

  it("I5 an older part is noticed, part by part", () => {
    const seen = issuedTimes(collateral);
    assert.deepEqual([...seen.keys()].toSorted(), [
      "snp.crl.Milan",
      "tdx.pck-crl.platform",
      "tdx.pck-crl.processor",
      "tdx.qe-identity",
      "tdx.root-crl",
      `tdx.tcb-info.${FMSPC}`,
    ]);
    const older = ca.collateral({
      pckCrl: { thisUpdate: new Date("2026-05-01T00:00:00Z"), revoked: [SERIAL.pck] },
    });
    const now = issuedTimes({ snp: {}, tdx: older });
    assert.deepEqual(rolledBack(seen, now), ["tdx.pck-crl.platform", "tdx.pck-crl.processor"]);
    assert.deepEqual(rolledBack(seen, seen), []);
    assert.deepEqual(rolledBack(new Map(), now), []);
    assert.deepEqual([...newest(seen, now)], [...seen]);
    assert.deepEqual([...newest(new Map(), now)], [...now]);
    const amd = issuedTimes({ snp: { Milan: milan } });
    assert.deepEqual([...amd.keys()], ["snp.crl.Milan"]);
    assert.equal(
      issuedTimes({ snp: {}, tdx: { ...older, rootCrl: Uint8Array.of(1) } }).has("tdx.root-crl"),
      false,
    );
  });
});
