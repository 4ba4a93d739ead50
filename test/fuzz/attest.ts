/**
 * A long run of mutants through the verifier: `node test/fuzz/attest.ts [COUNT] [SEED]`. It fails for an exception, for an
 * acceptance, and for an input that takes too long. Each finding prints the seed and the number that repeat it.
 *
 * Most inputs never reach a signature; those that would are given a crypto that calls every signature right, so that what
 * lies behind one is reached too: there only exceptions and time count, and acceptance of what was changed in the signed
 * part is found by the property tests (`test/attest/snp/mutants.test.ts`) with real signatures.
 */
import * as fc from "fast-check";
import { appraise, AppraisalCache } from "../../agent/attest/appraise.ts";
import type { Crypto } from "../../agent/attest/crypto.ts";
import { splitPem } from "../../agent/attest/base64.ts";
import { parseEnvelope } from "../../agent/attest/dsse.ts";
import { attempt } from "../../agent/attest/malformed.ts";
import { parseCertificateTable } from "../../agent/attest/snp/certificate-table.ts";
import { readVek } from "../../agent/attest/snp/vek.ts";
import { parseQeIdentity, parseTcbInfo } from "../../agent/attest/tdx/documents.ts";
import { TdxMemo } from "../../agent/attest/tdx/memo.ts";
import { cutSignedJson } from "../../agent/attest/tdx/signed-json.ts";
import type { Verdict } from "../../agent/attest/verdict.ts";
import { parseCertificate, parseCrl } from "../../agent/attest/x509.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { fieldMutation, mutate, mutation, PLACES, right, unsigned } from "../attest/snp/mutants.ts";
import { appraise as appraiseTdx, ca as intel } from "../attest/tdx/twin.ts";

const count = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const SLOW_MS = 50;
const BATCH = 2000;

const real = nodeCrypto();
const credulous: Crypto = { ...real, verify: async () => true };
const none: Crypto = { ...real, verify: async () => false };
const cache = new AppraisalCache(none);

const files = right.collateral.snp.Genoa;
const certificate = right.evidence.auxiliary;
const table = parseCertificateTable(certificate);
const vcek = table.vcek ?? new Uint8Array(0);
const crl = files?.crl ?? new Uint8Array(0);

const quote = intel.quote();
const memo = new TdxMemo(credulous);
const { tcbInfo: tcbInfos, qeIdentity: identity } = intel.collateral();
const nothing = new Uint8Array(0);
const tcbInfo = [...tcbInfos.values()][0]?.body ?? nothing;
const qeIdentity = identity?.body ?? nothing;

/** What is written only when somebody reads it. */
function read(verdict: Verdict): void {
  void verdict.predicates;
  void verdict.claims;
}

type Change = (bytes: Uint8Array) => Uint8Array | undefined;
type Subject = (change: Change) => unknown;

/** What a mutant is given to. Each returns, or throws a defect. */
const SUBJECTS: readonly Subject[] = [
  ...PLACES.map((place): Subject => async (change) => {
    const input = mutate(place, change);
    if (input === undefined) return;
    const verdict = await appraise({ ...input, crypto: none, cache });
    if (verdict.accepted) throw new Error("accepted without a signature");
    read(verdict);
  }),
  async (change) => {
    const report = change(unsigned);
    if (report === undefined) return;
    read(await appraise({ ...right, crypto: credulous, evidence: { ...right.evidence, report } }));
  },
  async (change) => {
    const verdict = await appraiseTdx(change(quote) ?? quote, { crypto: none });
    if (verdict.accepted) throw new Error("accepted without a signature");
    read(verdict);
  },
  async (change) => read(await appraiseTdx(change(quote) ?? quote, { crypto: credulous, memo })),
  (change) => attempt(() => parseTcbInfo(cutSignedJson(change(tcbInfo) ?? tcbInfo, "tcbInfo").body)),
  (change) =>
    attempt(() => parseQeIdentity(cutSignedJson(change(qeIdentity) ?? qeIdentity, "enclaveIdentity").body)),
  (change) => attempt(() => parseCrl(change(crl) ?? crl)),
  (change) => attempt(() => readVek(parseCertificate(change(vcek) ?? vcek))),
  (change) => attempt(() => splitPem(Buffer.from(change(PEM) ?? PEM).toString("latin1"), "PEM")),
  (change) => parseEnvelope(change(ENVELOPE) ?? ENVELOPE),
];
const PEM = Buffer.from(
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(vcek).toString("base64")}\n-----END CERTIFICATE-----\n`,
);
const ENVELOPE = Buffer.from(
  JSON.stringify({ payloadType: "t", payload: "AAAA", signatures: [{ keyid: "k", sig: "AAAA" }] }),
);

const chain = fc.array(
  fc.oneof({ weight: 3, arbitrary: mutation }, { weight: 1, arbitrary: fieldMutation }),
  {
    minLength: 1,
    maxLength: 3,
  },
);

let worst = 0;
const began = performance.now();
for (let done = 0; done < count; done += BATCH) {
  const batchSeed = (seed + done) | 0;
  const inputs = fc.sample(fc.tuple(fc.nat(SUBJECTS.length - 1), chain), {
    seed: batchSeed,
    numRuns: Math.min(BATCH, count - done),
  });
  for (const [i, [which, changes]] of inputs.entries()) {
    const mutant: Change = (bytes) =>
      changes.reduce<Uint8Array | undefined>((at, change) => at && change(at), bytes);
    const timed = async (): Promise<number> => {
      const from = performance.now();
      await SUBJECTS[which]?.(mutant);
      return performance.now() - from;
    };
    try {
      let took = await timed();
      // the best of several: the machine may have been busy
      for (let again = 0; again < 5 && took > SLOW_MS; again++) took = Math.min(took, await timed());
      if (took > SLOW_MS) throw new Error(`${took.toFixed(1)} ms`);
      worst = Math.max(worst, took);
    } catch (thrown) {
      console.error(`Found with seed ${batchSeed}, input ${i}, subject ${which}:`, thrown);
      process.exit(1);
    }
  }
  if ((done / BATCH) % 50 === 0)
    console.log(
      `${done + inputs.length} inputs, ${((done + inputs.length) / (performance.now() - began)).toFixed(1)} a ms, slowest ${worst.toFixed(2)} ms`,
    );
}
console.log(`${count} inputs with seed ${seed}: no exception, no acceptance, slowest ${worst.toFixed(2)} ms`);
