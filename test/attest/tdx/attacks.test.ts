import assert from "node:assert/strict";
import { TdxMemo } from "../../../agent/attest/tdx/memo.ts";
import { HEADER } from "../../../agent/attest/tdx/quote.ts";
import type { TdxInput } from "../../../agent/attest/tdx/verify.ts";
import { failures } from "../../../agent/attest/verdict.ts";
import { defaultTcbInfo, FMSPC, IntelCa, newKey, OLD_TCB, pem, PPID, SERIAL } from "../../twin/intel-ca.ts";
import { eventLog } from "./ccel.ts";
import { appraise, bytesOf, ca, COLLATERAL, crypto, twinPolicy } from "./twin.ts";

describe("TDX: attacks", () => {
  it("an extracted PCK signs collateral of its own: refused for the signer, whatever stands in the chain", async () => {
    const pck = ca.pck();
    for (const root of [ca.root, ca.platform]) {
      const forged = ca.sign(
        "tcbInfo",
        { ...defaultTcbInfo(), tcbLevels: [{ ...defaultTcbInfo().tcbLevels[1], tcbStatus: "UpToDate" }] },
        pck,
        root,
      );
      const old = ca.pck({ tcb: OLD_TCB });
      const verdict = await appraise(ca.quote({ pck: old }), {
        collateral: { ...COLLATERAL, tcbInfo: new Map([[FMSPC, forged]]) },
      });
      assert.deepEqual(failures(verdict), ["tdx.tcb-info.signer"]);
      assert.ok(verdict.notEvaluated.includes("tdx.tcb.status"));
    }
  });

  it("a PCK may not issue a PCK", async () => {
    const parent = ca.pck();
    const child = ca.pck({ issuer: "Intel SGX PCK Certificate", signWith: parent.key });
    const quote = ca.quote({ pck: child, chain: pem(child.der, parent.der, ca.platform.der) });
    const failed = failures(await appraise(quote));
    for (const code of ["tdx.pck.root", "tdx.pck.names", "tdx.pck.constraints"])
      assert.ok(failed.includes(code), code);
  });

  it("collateral under another root than the PCK's is refused", async () => {
    const other = new IntelCa();
    const foreign = other.collateral();
    const verdict = await appraise(ca.quote(), { collateral: { ...COLLATERAL, tcbInfo: foreign.tcbInfo } });
    assert.deepEqual(failures(verdict), ["tdx.tcb-info.signer"]);
  });

  for (const [what, quote, input, failed] of [
    [
      "other report data",
      () => ca.quote({ td: { reportData: bytesOf(1, 64) } }),
      () => ({}),
      "tdx.td.report-data",
    ],
    ["no chain", () => ca.quote({ chain: "" }), () => ({}), "tdx.pck.format"],
    [
      "a root that nobody trusts",
      () => ca.quote(),
      () => ({ policy: twinPolicy({ root: "intel" }) }),
      "tdx.pck.root",
    ],
    [
      "a platform that is denied",
      () => ca.quote(),
      () => ({ policy: twinPolicy({ platform: { ...twinPolicy().platform, denied: [PPID] } }) }),
      "tdx.platform.allowed",
    ],
  ] as const)
    it(`brief: no signature is verified after a cheap predicate failed (${what})`, async () => {
      const counted = counting();
      const verdict = await appraise(quote(), { crypto: counted.crypto, brief: true, ...input() });
      assert.deepEqual(failures(verdict), [failed]);
      assert.equal(verdict.accepted, false);
      assert.equal(counted.signatures, 0);
    });

  it("brief: no event log is replayed after a cheap predicate failed", async () => {
    const replayed = {
      policy: twinPolicy({ eventLog: "replay" }),
      eventLog: eventLog({ index: 1, type: 0xd, data: "x".repeat(1000) }),
    };
    const quote = ca.quote({ td: { reportData: bytesOf(1, 64) } });
    for (const [brief, digests] of [
      [true, false],
      [false, true],
    ] as const) {
      const counted = counting();
      const verdict = await appraise(quote, { crypto: counted.crypto, brief, ...replayed });
      assert.ok(failures(verdict).includes("tdx.td.report-data"));
      assert.equal(verdict.notEvaluated.includes("tdx.event-log.replay"), brief);
      assert.equal(counted.digests > 0, digests);
      assert.equal(counted.signatures > 0, digests);
    }
  });

  it("brief: of a known platform not even the quote's signature is verified where the collateral fails", async () => {
    const counted = counting();
    const memo = new TdxMemo(counted.crypto);
    const quote = ca.quote();
    const known = { crypto: counted.crypto, memo, brief: true };
    assert.equal((await appraise(quote, known)).accepted, true);
    const before = counted.signatures;
    const late = await appraise(quote, { ...known, at: Date.parse("2026-06-19T00:00:00Z") });
    assert.equal(late.accepted, false);
    assert.deepEqual(late.notEvaluated, ["tdx.quote.signature"]);
    assert.equal(counted.signatures, before);
  });

  it("each signature is verified once, though both documents have one signer", async () => {
    const counted = counting();
    assert.equal((await appraise(ca.quote(), { crypto: counted.crypto })).accepted, true);
    // quote, QE report, PCK, CA, root CRL, PCK CRL, signer, TCB info, QE identity
    assert.equal(counted.signatures, 9);
  });
});

function counting(): { readonly crypto: TdxInput["crypto"]; signatures: number; digests: number } {
  const counted = {
    signatures: 0,
    digests: 0,
    crypto: {
      digest: (...given) => {
        counted.digests++;
        return crypto.digest(...given);
      },
      verify: (...given) => {
        counted.signatures++;
        return crypto.verify(...given);
      },
    } satisfies TdxInput["crypto"],
  };
  return counted;
}

describe("TDX: the memo keeps facts, never decisions", () => {
  it("a known platform costs one signature, and time, revocation and policy are judged anew", async () => {
    const counted = counting();
    const memo = new TdxMemo(counted.crypto);
    const quote = ca.quote();
    const again = (change: Partial<TdxInput> = {}) =>
      appraise(quote, { crypto: counted.crypto, memo, ...change });
    assert.equal((await again()).accepted, true);
    const first = counted.signatures;
    assert.equal((await again()).accepted, true);
    assert.equal(counted.signatures - first, 1);
    assert.deepEqual(failures(await again({ at: Date.parse("2026-06-19T00:00:00Z") })), [
      "tdx.root-crl.current",
      "tdx.pck-crl.current",
      "tdx.tcb-info.current",
      "tdx.qe-identity.current",
    ]);
    assert.deepEqual(failures(await again({ policy: twinPolicy({ root: "intel" }) })), ["tdx.pck.root"]);
    const collateral = ca.collateral({ pckCrl: { revoked: [SERIAL.pck] } });
    assert.deepEqual(failures(await again({ collateral })), ["tdx.pck.revoked"]);
  });

  it("a quote with a known QE report and another attestation key is examined whole", async () => {
    const memo = new TdxMemo(crypto);
    const quote = ca.quote();
    await appraise(quote, { memo });
    const key = newKey();
    const forged = ca.quote({ attestationKey: key });
    // the known report and its signature, around the attacker's key
    forged.set(
      quote.subarray(HEADER.size + 584 + 4 + 128 + 6, HEADER.size + 584 + 4 + 128 + 6 + 448),
      HEADER.size + 584 + 4 + 128 + 6,
    );
    assert.deepEqual(failures(await appraise(forged, { memo })).includes("tdx.qe.attestation-key"), true);
  });

  it("junk does not spoil what is known of collateral", async () => {
    const memo = new TdxMemo(crypto);
    const pck = ca.pck();
    // the Platform CA's key under another name, and without the right to sign CRLs: the root signed neither
    const fake = ca.ca("platform", {
      key: ca.platform.key,
      subject: "Intel SGX PCK Platform CA",
      usage: [5],
      signWith: newKey(),
    });
    const junk = ca.quote({ pck, chain: pem(pck.der, fake.der, ca.root.der) });
    assert.ok(failures(await appraise(junk, { memo })).includes("tdx.pck-crl.signature"));
    assert.equal((await appraise(ca.quote({ pck }), { memo })).accepted, true);
    assert.ok(failures(await appraise(junk, { memo })).includes("tdx.pck-crl.signature"));
  });

  it("keeps no more platforms than it may", async () => {
    const memo = new TdxMemo(crypto, 2);
    for (let i = 0; i < 4; i++) assert.equal((await appraise(ca.quote(), { memo })).accepted, true);
  });
});
