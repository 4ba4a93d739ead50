/** The verifier in a browser: the same verdicts, word for word, as in Node, on genuine artefacts, twins and mutants. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build, type BuildOptions } from "esbuild";
import * as fc from "fast-check";
import { appraise, type Appraisal } from "../../agent/attest/appraise.ts";
import { failures } from "../../agent/attest/verdict.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { appraisalOf, SNP_ROWS } from "../attest/snp/genuine.ts";
import { mutate, mutation, PLACES, right } from "../attest/snp/mutants.ts";
import { genuinePolicy } from "../attest/snp/policies.ts";
import { GENUINE, strangersPolicy } from "../attest/tdx/genuine.ts";
import { TDX_ROWS } from "../attest/tdx/rows.ts";
import { ca, COLLATERAL, twinPolicy } from "../attest/tdx/twin.ts";
import { vector } from "../attest/vectors.ts";
import { TWIN_TIME } from "../twin/intel-ca.ts";
import { inChromium } from "./chromium.ts";
import type { Answers, Signature } from "./questions.ts";
import { pack } from "./transfer.ts";

const MUTANTS = 200;
const crypto = nodeCrypto();
const none = new Uint8Array(0);
const initdata = { sha256: new Uint8Array(32), sha384: new Uint8Array(48) };

const BUNDLE = {
  bundle: true,
  write: false,
  minify: true,
  format: "iife",
  platform: "browser",
  target: "es2022",
} as const satisfies BuildOptions;

function tdx(quote: Uint8Array, change: Partial<Appraisal> = {}): Appraisal {
  const policy = genuinePolicy("Milan");
  return {
    evidence: { tee: "tdx", report: quote, auxiliary: none, eventLog: none },
    collateral: { snp: {}, tdx: COLLATERAL },
    policy: { ...policy, tees: { ...policy.tees, tdx: twinPolicy() } },
    at: TWIN_TIME,
    expect: { reportData: new Uint8Array(64), initdata },
    crypto,
    ...change,
  };
}

function appraisals(): readonly (readonly [what: string, input: Appraisal, fails?: readonly string[]])[] {
  const policy = genuinePolicy("Milan");
  const strangers = { ...policy, tees: { ...policy.tees, tdx: strangersPolicy() } };
  const look = { reportData: { unchecked: "strangers' requests" }, initdata };
  const quote = ca.quote();
  return [
    ...SNP_ROWS.map((row) => [`${row.report} at ${row.at}`, appraisalOf(row, crypto), row.fails] as const),
    ...TDX_ROWS.map(
      ([file, collateral, at, , fails]) =>
        [
          `${file} by ${collateral} at ${at}`,
          tdx(vector(file), {
            collateral: { snp: {}, tdx: GENUINE[collateral] },
            policy: strangers,
            at: Date.parse(at),
            expect: look,
          }),
          fails,
        ] as const,
    ),
    ["the twin's SNP machine", right, []],
    ["the twin's TD", tdx(quote), []],
    ["a TD that is too late", tdx(quote, { at: TWIN_TIME + 90 * 86_400_000 })],
    ...fc
      .sample(fc.tuple(fc.constantFrom(...PLACES), mutation), { numRuns: MUTANTS, seed: 1 })
      .flatMap(([place, change], i) => {
        const input = mutate(place, change);
        return input === undefined ? [] : [[`mutant ${i} of the ${place}`, input] as const];
      }),
    ...[0, 48, 100, 632, 700, 1300, 2000].map((at) => {
      const mutant = Uint8Array.from(quote);
      mutant[at] = (mutant[at] ?? 0) ^ 1;
      return [`the twin's quote with byte ${at} changed`, tdx(mutant)] as const;
    }),
  ];
}

const raw = (key: KeyObject) => ({ key, dsaEncoding: "ieee-p1363" }) as const;

/** Each algorithm's signature, right and wrong, and under a key of another kind. */
function signatures(): { readonly question: Signature; readonly right: boolean }[] {
  const data = Buffer.from("what is signed");
  const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync("ed25519");
  const made = [
    ["ecdsa-p256-sha256", p256.publicKey, sign("sha256", data, raw(p256.privateKey))],
    ["ecdsa-p384-sha384", p384.publicKey, sign("sha384", data, raw(p384.privateKey))],
    [
      "rsa-pss-sha384",
      rsa.publicKey,
      sign("sha384", data, { key: rsa.privateKey, padding: 6, saltLength: 48 }),
    ],
    ["rsa-pkcs1-sha256", rsa.publicKey, sign("sha256", data, rsa.privateKey)],
    ["ed25519", ed25519.publicKey, sign(null, data, ed25519.privateKey)],
  ] as const;
  return made.flatMap(([algorithm, key, signature], i) => {
    const spki = key.export({ format: "der", type: "spki" });
    const other = (made[(i + 1) % made.length] ?? made[0])[1].export({ format: "der", type: "spki" });
    const wrong = Buffer.from(signature);
    wrong[9] = (wrong[9] ?? 0) ^ 1;
    const of = (change: Partial<Signature>, isRight = false) => ({
      question: { algorithm, spki, signature, data, ...change },
      right: isRight,
    });
    return [
      of({}, true),
      of({ signature: wrong }),
      of({ signature: signature.subarray(1) }),
      of({ data: none }),
      // two of the algorithms are RSA's: a key of that kind fits both, the signature does not
      of({ spki: other, ...(i === 2 ? { signature: made[3][2] } : {}) }),
      of({ spki: spki.subarray(1) }),
    ];
  });
}

describe("the verifier in headless Chromium", function () {
  this.timeout(300_000);

  it("gives the same verdicts as in Node, without anything of Node's", async () => {
    const library = await build({
      ...BUNDLE,
      stdin: {
        contents: `export * from "./appraise.ts"; export * from "./policy.ts"; export * from "./webcrypto.ts";`,
        resolveDir: join(import.meta.dirname, "../../agent/attest"),
        loader: "ts",
      },
      globalName: "sealet",
    });
    const { contents = none } = library.outputFiles[0] ?? {};
    const kilobytes = [contents.length, gzipSync(contents).length].map((size) => Math.round(size / 1000));
    const page = await build({ ...BUNDLE, entryPoints: [join(import.meta.dirname, "page.ts")] });
    const script = page.outputFiles[0]?.text ?? "";
    assert.doesNotMatch(script, /require\("|from"node:/);

    const asked = appraisals();
    const signed = signatures();
    const questions = {
      appraisals: asked.map(([, input]) => ({ ...input, crypto: undefined })),
      signatures: signed.map(({ question }) => question),
    };
    const text = await inChromium(script, pack(questions));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the page's own words
    const answers = JSON.parse(text) as Partial<Answers>;
    const { verdicts, foreign, milliseconds } = answers;
    assert.ok(verdicts !== undefined && milliseconds !== undefined, text.slice(0, 2000));
    assert.deepEqual(foreign, []);
    assert.match(answers.agent ?? "", /HeadlessChrome/);

    for (const [i, [what, input, fails]] of asked.entries()) {
      const verdict = await appraise(input);
      if (fails !== undefined) assert.deepEqual(failures(verdict), fails, what);
      assert.equal(verdicts[i], JSON.stringify(verdict), what);
    }
    assert.deepEqual(
      answers.signatures,
      signed.map(({ right: isRight }) => isRight),
    );
    const judged = `${asked.length} verdicts in ${Math.round(milliseconds)} ms`;
    console.log(`      bundle: ${kilobytes.join(" KB minified, ")} KB compressed; ${judged}`);
  });
});
