import assert from "node:assert/strict";
import { createHash, createPublicKey, generateKeyPairSync } from "node:crypto";
import * as fc from "fast-check";
import { hex } from "../../../agent/attest/bytes.ts";
import { attempt } from "../../../agent/attest/malformed.ts";
import { parseRsaSignature, parseTpmQuote } from "../../../agent/attest/tpm/formats.ts";
import { tpmPolicy, type TpmPolicy } from "../../../agent/attest/tpm/policy.ts";
import {
  checkTpm,
  checkTpmSignature,
  TPM_PREDICATES,
  type TpmCode,
  type TpmEvidence,
} from "../../../agent/attest/tpm/verify.ts";
import { Checks, failures, type Verdict } from "../../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { vector, vectorText } from "../vectors.ts";
import { Tpm, u16, type QuoteOptions } from "./machine.ts";

const crypto = nodeCrypto();
const tpm = new Tpm();
for (const [pcr, text] of [
  [0, "firmware"],
  [4, "boot loader"],
  [7, "secure boot"],
  [11, "kernel"],
] as const)
  tpm.extend(pcr, text);
const PCRS = [0, 1, 2, 3, 4, 5, 6, 7, 11];
const NONCE = new Uint8Array(32).fill(1);

function policyOf(
  pcrs: readonly number[] = PCRS,
  values: ReadonlyMap<number, Uint8Array> = tpm.pcrs,
): TpmPolicy {
  const rules = pcrs.map(
    (pcr) => [String(pcr), { anyOf: [hex(values.get(pcr) ?? new Uint8Array(32))] }] as const,
  );
  return tpmPolicy.parse({ bank: "sha256", pcrs: Object.fromEntries(rules) });
}

async function appraise(
  options: QuoteOptions = {},
  change: { policy?: TpmPolicy; evidence?: Partial<TpmEvidence>; attestationKey?: Uint8Array } = {},
): Promise<Verdict> {
  const checks = new Checks<TpmCode>();
  const evidence = { ...tpm.quote(options), pcrs: tpm.pcrs, ...change.evidence };
  const attestationKey = change.attestationKey ?? tpm.spki;
  const signed = await checkTpm(checks, crypto, evidence, change.policy ?? policyOf(), NONCE);
  if (signed !== undefined) await checkTpmSignature(checks, crypto, signed, attestationKey);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a constant
  return checks.verdict("tpm", Object.keys(TPM_PREDICATES) as TpmCode[], {});
}

/** The predicate of the PCRs, of a quote that is accepted. */
const pcrsOf = async (pcrs: TpmPolicy["pcrs"]) => {
  const { accepted, predicates } = await appraise({}, { policy: { bank: "sha256", pcrs } });
  assert.equal(accepted, true);
  return predicates.find(({ code }) => code === "tpm.pcrs");
};

describe("TPM quotes", () => {
  it("what the policy names is accepted", async () => {
    const verdict = await appraise();
    assert.deepEqual(failures(verdict), []);
    assert.equal(verdict.accepted, true);
  });

  const other = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const cases: readonly (readonly [
    code: TpmCode,
    what: string,
    options: QuoteOptions,
    change?: Parameters<typeof appraise>[1],
    also?: readonly TpmCode[],
  ])[] = [
    ["tpm.quote.format", "another magic", { magic: 0xff544346 }],
    ["tpm.quote.format", "a certified key, not a quote", { type: 0x8017 }],
    ["tpm.quote.format", "bytes after it", { after: Uint8Array.of(0) }],
    ["tpm.quote.format", "neither yes nor no", { safe: 2 }],
    [
      "tpm.quote.format",
      "nine selections",
      { selections: Array.from({ length: 9 }, () => ({ bank: 0x0b, pcrs: [0] })) },
    ],
    ["tpm.quote.signature", "another key's", { signWith: other.privateKey }],
    [
      "tpm.quote.signature",
      "an EC key in its place",
      {},
      {
        attestationKey: new Uint8Array(
          generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({
            format: "der",
            type: "spki",
          }),
        ),
      },
    ],
    ["tpm.quote.format", "over the budget", { nonce: new Uint8Array(1100) }],
    ["tpm.quote.nonce", "another's", { nonce: new Uint8Array(32) }],
    ["tpm.quote.nonce", "none", { nonce: new Uint8Array(0) }],
    ["tpm.quote.digest", "another", { digest: new Uint8Array(32) }],
    ["tpm.quote.digest", "empty", { digest: new Uint8Array(0) }],
  ];
  for (const [code, what, options, change, also = []] of cases)
    it(`${code}: ${what}`, async () => {
      const verdict = await appraise(options, change);
      assert.deepEqual(failures(verdict), [code, ...also]);
      assert.equal(verdict.accepted, false);
    });

  it("tpm.pcrs: a value that is not the policy's", async () => {
    const values = new Map(tpm.pcrs).set(11, new Uint8Array(32).fill(9));
    assert.deepEqual(failures(await appraise({}, { policy: policyOf(PCRS, values) })), ["tpm.pcrs"]);
  });

  it("the digest over the PCRs may be of another hash than the bank's, and is still checked", async () => {
    for (const algorithm of ["sha384", "sha512"]) {
      const digest = createHash(algorithm);
      for (const pcr of PCRS) digest.update(tpm.pcrs.get(pcr) ?? assert.fail("no such PCR"));
      assert.deepEqual(failures(await appraise({ digest: new Uint8Array(digest.digest()) })), []);
    }
    for (const size of [20, 48, 64])
      assert.deepEqual(failures(await appraise({ digest: new Uint8Array(size) })), ["tpm.quote.digest"]);
  });

  it("a PCR that is not looked at is still quoted and in the digest", async () => {
    const policy = tpmPolicy.parse({
      ...policyOf(),
      pcrs: { ...policyOf().pcrs, 4: { unchecked: "the boot loader changes" } },
    });
    assert.deepEqual(failures(await appraise({}, { policy })), []);
    const pcrs = new Map(tpm.pcrs).set(4, new Uint8Array(32));
    assert.deepEqual(failures(await appraise({}, { policy, evidence: { pcrs } })), ["tpm.quote.digest"]);
  });

  it("why a PCR is not looked at stands in the verdict; where none is, nothing held", async () => {
    const loader = { unchecked: "the boot loader changes" };
    const kernel = { unchecked: "the kernel is another test's" };
    const some = await pcrsOf({ ...policyOf().pcrs, 4: loader, 5: loader, 11: kernel });
    assert.deepEqual(some, {
      code: "tpm.pcrs",
      ok: true,
      expected: "values of the policy",
      found:
        "values of the policy; not checked: PCR 4, PCR 5 (the boot loader changes), PCR 11 (the kernel is another test's)",
    });
    const none = await pcrsOf(Object.fromEntries(PCRS.map((pcr) => [pcr, pcr === 11 ? kernel : loader])));
    assert.equal(none?.expected, "not checked");
    assert.equal(
      none.unchecked,
      "PCR 0, PCR 1, PCR 2, PCR 3, PCR 4, PCR 5, PCR 6, PCR 7: the boot loader changes; PCR 11: the kernel is another test's",
    );
    assert.ok(none.found.endsWith(`PCR 11 ${hex(tpm.pcrs.get(11) ?? assert.fail("no PCR 11"))}`));
  });

  it("a PCR whose value is missing or short", async () => {
    const pcrs = new Map(tpm.pcrs);
    pcrs.delete(11);
    assert.deepEqual(failures(await appraise({}, { evidence: { pcrs } })), ["tpm.quote.digest", "tpm.pcrs"]);
    pcrs.set(11, new Uint8Array(31));
    assert.deepEqual(failures(await appraise({}, { evidence: { pcrs } })), ["tpm.quote.digest", "tpm.pcrs"]);
  });

  it("good events replayed into PCR 16 and quoted in the place of PCR 11 are refused by the selection", async () => {
    const evil = new Tpm();
    for (const [pcr, text] of [
      [0, "firmware"],
      [4, "boot loader"],
      [7, "secure boot"],
      [11, "evil kernel"],
      [16, "kernel"],
    ] as const)
      evil.extend(pcr, text);
    const swapped = [...PCRS.filter((pcr) => pcr !== 11), 16];
    const { quote, signature } = evil.quote({ selections: [{ bank: 0x0b, pcrs: swapped }] });
    // the values that the policy wants, in the order in which the digest was made
    const verdict = await appraise(
      {},
      { evidence: { quote, signature, pcrs: tpm.pcrs }, attestationKey: evil.spki },
    );
    assert.deepEqual(failures(verdict), ["tpm.quote.selection"]);
    const found = verdict.predicates.find(({ code }) => code === "tpm.quote.selection");
    assert.equal(found?.expected, "sha256:0,1,2,3,4,5,6,7,11");
    assert.equal(found?.found, "sha256:0,1,2,3,4,5,6,7,16");
  });

  it("another bank, two banks, more or fewer PCRs are refused by the selection", async () => {
    const selections = [
      [{ bank: 0x04, pcrs: PCRS }],
      [{ bank: 0x0c, pcrs: PCRS }],
      [],
      [
        { bank: 0x0b, pcrs: PCRS },
        { bank: 0x0b, pcrs: [] },
      ],
      [{ bank: 0x0b, pcrs: PCRS.slice(1) }],
      [{ bank: 0x0b, pcrs: [...PCRS, 12] }],
    ];
    for (const selection of selections) {
      const failed = failures(await appraise({ selections: selection }));
      assert.ok(failed.includes("tpm.quote.selection"), JSON.stringify(selection));
    }
  });

  it("Azure's genuine quote: signature, nonce and all 24 PCRs of SHA-256", async () => {
    const file = Buffer.from(vector("azure-cvm-tooling/quote.bin"));
    const signature = file.subarray(8, 8 + 256);
    const quote = file.subarray(8 + 256 + 8, 8 + 256 + 8 + 122);
    const all = file.subarray(8 + 256 + 8 + 122 + 8);
    const pcrs = new Map(
      Array.from({ length: 24 }, (_, pcr) => [pcr, new Uint8Array(all.subarray(32 * pcr, 32 * pcr + 32))]),
    );
    const attestationKey = new Uint8Array(
      createPublicKey(vectorText("azure-cvm-tooling/akpub.pem")).export({ format: "der", type: "spki" }),
    );
    const policy = policyOf([...pcrs.keys()], pcrs);
    const nonce = new TextEncoder().encode("challenge");
    const checks = new Checks<TpmCode>();
    const signed = await checkTpm(checks, crypto, { quote, signature, pcrs }, policy, nonce);
    assert.equal(signed?.quote.resetCount, 3);
    await checkTpmSignature(checks, crypto, signed, attestationKey);
    assert.deepEqual(failures(checks.verdict("tpm", [], {})), []);
    const fewer = new Checks<TpmCode>();
    await checkTpm(fewer, crypto, { quote, signature, pcrs }, policyOf([0, 1], pcrs), nonce);
    assert.deepEqual(failures(fewer.verdict("tpm", [], {})), ["tpm.quote.selection", "tpm.quote.digest"]);
  });

  it("signatures are taken out of the TPM's envelope", () => {
    const value = new Uint8Array(256).fill(5);
    const envelope = Buffer.concat([u16(0x14), u16(0x0b), u16(256), value]);
    assert.deepEqual(parseRsaSignature(envelope), Buffer.from(value));
    for (const bad of [
      envelope.subarray(1),
      Buffer.concat([envelope, u16(0)]),
      Buffer.concat([u16(0x16), envelope.subarray(2)]),
      Buffer.concat([u16(0x14), u16(4), envelope.subarray(4)]),
    ])
      assert.throws(() => parseRsaSignature(bad), { name: "Malformed" });
  });

  it("mutants are refused", async () => {
    const { quote, signature } = tpm.quote();
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: quote.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, flip, cut) => {
          const mutant = cut ? quote.slice(0, at) : Uint8Array.from(quote);
          if (!cut) mutant[at] = (mutant[at] ?? 0) ^ flip;
          attempt(() => parseTpmQuote(mutant));
          assert.equal((await appraise({}, { evidence: { quote: mutant, signature } })).accepted, false);
        },
      ),
      { numRuns: 300 },
    );
  });
});
