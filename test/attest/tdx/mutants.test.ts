import assert from "node:assert/strict";
import * as fc from "fast-check";
import { attempt } from "../../../agent/attest/malformed.ts";
import { TdxMemo } from "../../../agent/attest/tdx/memo.ts";
import { parseSgxExtension, SGX_EXTENSION } from "../../../agent/attest/tdx/pck.ts";
import { parseQuote } from "../../../agent/attest/tdx/quote.ts";
import type { TdxCollateral } from "../../../agent/attest/tdx/verify.ts";
import { parsePemCertificates } from "../../../agent/attest/x509.ts";
import { FMSPC } from "../../twin/intel-ca.ts";
import { appraise, ca, COLLATERAL, crypto, twinPolicy } from "./twin.ts";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 300);

const quotes = [
  ca.quote(),
  ca.quote({ version: 5, bodyType: 2 }),
  ca.quote({ version: 5, bodyType: 3 }),
  ca.quote({ version: 5, bodyType: 4 }),
];

type Mutation = (bytes: Uint8Array) => Uint8Array;

const at = fc.nat({ max: 2 ** 20 });
const INTERESTING = [0, 1, 0x7f, 0x80, 0xff];

/** Bytes flipped, set, cut out, put in, doubled, zeroed; and the lengths that the format has in it changed. */
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(at, fc.integer({ min: 1, max: 255 })).map(([i, flip]): Mutation => (bytes) => {
    const copy = Uint8Array.from(bytes);
    const index = i % copy.length;
    copy[index] = (copy[index] ?? 0) ^ flip;
    return copy;
  }),
  fc.tuple(at, fc.constantFrom(...INTERESTING)).map(([i, value]): Mutation => (bytes) => {
    const copy = Uint8Array.from(bytes);
    copy[i % copy.length] = value;
    return copy;
  }),
  at.map(
    (i): Mutation =>
      (bytes) =>
        bytes.slice(0, i % bytes.length),
  ),
  fc.tuple(at, fc.integer({ min: 1, max: 64 })).map(([i, size]): Mutation => (bytes) => {
    const from = i % bytes.length;
    return new Uint8Array([...bytes.subarray(0, from), ...bytes.subarray(from + size)]);
  }),
  fc.tuple(at, fc.uint8Array({ minLength: 1, maxLength: 64 })).map(([i, extra]): Mutation => (bytes) => {
    const from = i % bytes.length;
    return new Uint8Array([...bytes.subarray(0, from), ...extra, ...bytes.subarray(from)]);
  }),
  fc.tuple(at, at, fc.integer({ min: 1, max: 128 })).map(([i, j, size]): Mutation => (bytes) => {
    const copy = Uint8Array.from(bytes);
    const from = i % copy.length;
    copy.copyWithin(j % copy.length, from, from + size);
    return copy;
  }),
  fc
    .tuple(
      fc.constantFrom(0, 2, 4, 48, 50, 632, 638, 764, 766, 1218, 1252, 1254),
      fc.integer({ min: 0, max: 0xffff }),
    )
    .map(([offset, value]): Mutation => (bytes) => {
      const copy = Uint8Array.from(bytes);
      copy.set(
        Uint8Array.of(value & 0xff, value >> 8).subarray(0, Math.max(0, copy.length - offset)),
        Math.min(offset, copy.length),
      );
      return copy;
    }),
);

/** Whether all that is signed, and all that is not zeros after it, is as it was. */
function same(mutant: Uint8Array, original: Uint8Array): boolean {
  const zeros = mutant.subarray(original.length).every((byte) => byte === 0);
  return mutant.length >= original.length && zeros && original.every((byte, i) => mutant[i] === byte);
}

const noSignature = {
  ...crypto,
  verify: (): Promise<boolean> => Promise.reject(new Error("a signature was verified")),
};

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** All bytes that the tests of this folder share: a mutant is a copy, or another test fails for no reason of its own. */
function shared(): string {
  const { tcbInfo, qeIdentity, rootCrl, pckCrl } = COLLATERAL;
  const documents = [...tcbInfo.values(), qeIdentity].flatMap((each) => [each?.body, each?.issuerChain]);
  return [...quotes, ...documents, rootCrl, pckCrl.platform, pckCrl.processor]
    .map((bytes) => hexOf(bytes ?? assert.fail("not there")))
    .join();
}

describe("TDX: mutants", () => {
  const before = shared();
  afterEach("nothing that tests share was changed", () => {
    assert.equal(shared() === before, true);
  });

  it(`none of ${RUNS} mutants of quotes is accepted, none throws`, async () => {
    const memo = new TdxMemo(crypto);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: quotes.length - 1 }),
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        async (which, mutations) => {
          const quote = quotes[which] ?? new Uint8Array();
          const mutant = mutations.reduce(
            (bytes, mutate) => (bytes.length === 0 ? bytes : mutate(bytes)),
            quote,
          );
          const verdict = await appraise(mutant, { memo });
          if (verdict.accepted) assert.ok(equivalent(mutant, quote), "accepted");
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("every single bit of a quote that is flipped is noticed", async () => {
    const memo = new TdxMemo(crypto);
    const [quote = new Uint8Array()] = quotes;
    const step = RUNS > 1000 ? 1 : 41;
    for (let bit = 0; bit < 8 * quote.length; bit += step) {
      const mutant = Uint8Array.from(quote);
      const index = bit >> 3;
      mutant[index] = (mutant[index] ?? 0) ^ (1 << (bit & 7));
      const verdict = await appraise(mutant, { memo });
      if (verdict.accepted) assert.ok(equivalent(mutant, quote), `bit ${bit}`);
    }
  });

  it(`none of ${RUNS} mutants of collateral is accepted, none throws`, async () => {
    const [quote = new Uint8Array()] = quotes;
    const tcbInfo = COLLATERAL.tcbInfo.get(FMSPC);
    assert.ok(tcbInfo && COLLATERAL.qeIdentity && COLLATERAL.rootCrl && COLLATERAL.pckCrl.platform);
    const { qeIdentity, rootCrl, pckCrl } = COLLATERAL;
    const parts: readonly (readonly [Uint8Array, (mutant: Uint8Array) => TdxCollateral])[] = [
      [tcbInfo.body, (body) => ({ ...COLLATERAL, tcbInfo: new Map([[FMSPC, { ...tcbInfo, body }]]) })],
      [
        tcbInfo.issuerChain,
        (issuerChain) => ({ ...COLLATERAL, tcbInfo: new Map([[FMSPC, { ...tcbInfo, issuerChain }]]) }),
      ],
      [qeIdentity.body, (body) => ({ ...COLLATERAL, qeIdentity: { ...qeIdentity, body } })],
      [
        qeIdentity.issuerChain,
        (issuerChain) => ({ ...COLLATERAL, qeIdentity: { ...qeIdentity, issuerChain } }),
      ],
      [rootCrl, (mutant) => ({ ...COLLATERAL, rootCrl: mutant })],
      [pckCrl.platform ?? new Uint8Array(), (mutant) => ({ ...COLLATERAL, pckCrl: { platform: mutant } })],
    ];
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: parts.length - 1 }), mutation, async (which, mutate) => {
        const [original, build] = parts[which] ?? assert.fail();
        const mutant = mutate(original);
        const verdict = await appraise(quote, { collateral: build(mutant) });
        if (verdict.accepted) assert.ok(sameContent(mutant, original), "accepted");
      }),
      { numRuns: RUNS },
    );
  });

  it("parsers throw nothing but what they say, for any bytes", () => {
    const [quote = new Uint8Array()] = quotes;
    const [pck] = parsePemCertificates(new TextDecoder().decode(parseQuote(quote).pckChainPem));
    const extension = pck?.extensions.get(SGX_EXTENSION)?.value ?? new Uint8Array();
    assert.ok(extension.length > 0);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 1200 }),
        fc.array(mutation, { maxLength: 3 }),
        (junk, mutations) => {
          attempt(() => parseQuote(junk));
          attempt(() => parseSgxExtension(junk));
          const mutant = mutations.reduce(
            (bytes, mutate) => (bytes.length === 0 ? bytes : mutate(bytes)),
            extension,
          );
          attempt(() => parseSgxExtension(mutant));
        },
      ),
      { numRuns: 4 * RUNS },
    );
  });

  it("junk is refused in less than 50 µs, before any signature", async () => {
    const rounds = 500;
    const policy = twinPolicy();
    const junk = Array.from({ length: rounds }, (_, i) => {
      const bytes = new Uint8Array(5000).fill(i & 0xff);
      bytes.set((quotes[i % quotes.length] ?? new Uint8Array()).subarray(0, i % 2 === 0 ? 0 : 700));
      return bytes;
    });
    for (const quote of junk) await appraise(quote, { crypto: noSignature, policy });
    // the quickest of some runs: the machine may be busy with other things
    let each = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 8; run++) {
      const begin = performance.now();
      for (const quote of junk)
        assert.equal((await appraise(quote, { crypto: noSignature, policy })).accepted, false);
      each = Math.min(each, (1000 * (performance.now() - begin)) / rounds);
    }
    assert.ok(each < 50, `${each} µs`);
  });
});

const chain = (pem: Uint8Array): string =>
  parsePemCertificates(new TextDecoder().decode(pem))
    .map(({ der }) => hexOf(der))
    .join();

/** Equal but for what nobody signs and that says the same: line ends of PEM, zeros at the end. */
function equivalent(mutant: Uint8Array, original: Uint8Array): boolean {
  if (same(mutant, original)) return true;
  const [a, b] = [attempt(() => parseQuote(mutant)), attempt(() => parseQuote(original))];
  if (!a.ok || !b.ok) return false;
  return (
    hexOf(a.value.signedBytes) === hexOf(b.value.signedBytes) &&
    hexOf(a.value.qeReportBytes) === hexOf(b.value.qeReportBytes) &&
    hexOf(a.value.qeAuthData) === hexOf(b.value.qeAuthData) &&
    hexOf(a.value.attestationKey) === hexOf(b.value.attestationKey) &&
    chain(a.value.pckChainPem) === chain(b.value.pckChainPem)
  );
}

const bare = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString("latin1")
    .replaceAll(/[\s\0]/g, "")
    .toLowerCase();

/** Equal but for white space and the case of the signature's digits. */
function sameContent(mutant: Uint8Array, original: Uint8Array): boolean {
  return bare(mutant) === bare(original);
}
