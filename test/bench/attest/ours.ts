/**
 * Our verifier as a contestant of `test/bench/attest.ts`: reads `NAME SECONDS` a line, answers `rate N`. Run as `ours.ts
 * THREADS [LOOP_CORE SIGNATURE_CORE]`: with 0 threads signatures are verified on the event loop's; else UV_THREADPOOL_SIZE
 * has to be THREADS, and with cores event loop and pool are pinned to one each.
 */
import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { appraise, AppraisalCache, type Appraisal } from "../../../agent/attest/appraise.ts";
import type { Crypto } from "../../../agent/attest/crypto.ts";
import type { SnpPolicy } from "../../../agent/attest/snp/policy.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { right } from "../../attest/snp/mutants.ts";
import { strangersPolicy } from "../../attest/tdx/genuine.ts";
import { tdx } from "./evidence.ts";

const [threads = 0, ...cores] = process.argv.slice(2).map(Number);
const make = (): Crypto => nodeCrypto({ onThisThread: threads === 0 });
const crypto = make();
const cache = new AppraisalCache(crypto);
const none = new Uint8Array(0);

function withoutCrl(policy: SnpPolicy | "denied"): SnpPolicy | "denied" {
  return policy === "denied" ? policy : { ...policy, crl: { unchecked: "peers don't look at it" } };
}

const { tees } = right.policy;
const snp: Appraisal = { ...right, crypto };
const snpNoCrl: Appraisal = {
  ...snp,
  policy: { ...right.policy, tees: { ...tees, "sev-snp": withoutCrl(tees["sev-snp"]) } },
};
const tdxQuote: Appraisal = {
  evidence: { tee: "tdx", report: tdx.quote, auxiliary: none, eventLog: none },
  collateral: { snp: {}, tdx: tdx.collateral },
  policy: { ...right.policy, tees: { ...tees, tdx: strangersPolicy() } },
  at: tdx.at,
  expect: { reportData: tdx.reportData },
  crypto,
};
const junk: Appraisal = {
  ...snp,
  brief: true,
  evidence: { ...snp.evidence, report: new Uint8Array(1184).fill(7) },
};
const wrongNonce: Appraisal = {
  ...snp,
  cache,
  brief: true,
  expect: { ...snp.expect, reportData: new Uint8Array(64).fill(7) },
};

function verification(namedCurve: "P-256" | "P-384", hash: string): () => boolean {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve });
  const key = createPublicKey(privateKey);
  const data = new Uint8Array(672).fill(7);
  const signature = sign(hash, data, { key: privateKey, dsaEncoding: "ieee-p1363" });
  return () => verify(hash, data, { key, dsaEncoding: "ieee-p1363" }, signature);
}

async function accepted(input: Appraisal): Promise<void> {
  const verdict = await appraise(input);
  if (!verdict.accepted) throw new Error(JSON.stringify(verdict.predicates.filter(({ ok }) => !ok)));
}

// cold: nothing is known, not even a parsed key
const contests: Readonly<Record<string, () => unknown>> = {
  "P-384": verification("P-384", "sha384"),
  "P-256": verification("P-256", "sha256"),
  "snp-warm": () => accepted({ ...snp, cache }),
  "snp-cold": () => accepted({ ...snp, crypto: make() }),
  "snp-cold-no-crl": () => accepted({ ...snpNoCrl, crypto: make() }),
  "tdx-warm": () => accepted({ ...tdxQuote, cache }),
  "tdx-cold": () => accepted({ ...tdxQuote, crypto: make() }),
  junk: () => appraise(junk),
  "wrong-nonce": () => appraise(wrongNonce),
};

async function rate(run: () => unknown, seconds: number): Promise<number> {
  const from = performance.now();
  let done = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - from < 1000 * seconds) {
      await run();
      done++;
    }
  };
  await Promise.all(Array.from({ length: threads === 0 ? 1 : 4 * threads }, lane));
  return (1000 * done) / (performance.now() - from);
}

/** Pool threads to one core, all others of this process to another. */
function pin([loopCore, signatureCore]: readonly number[]): void {
  for (const thread of readdirSync("/proc/self/task")) {
    const name = readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim();
    const core = name === "libuv-worker" ? signatureCore : loopCore;
    const { status } = spawnSync("taskset", ["-cp", String(core), thread]);
    if (status !== 0) throw new Error(`taskset could not pin ${name} (${thread}) to core ${core}`);
  }
}

// the pool's threads are there once they had work
for (const run of Object.values(contests)) await rate(run, 0.05);
if (cores.length === 2) pin(cores);
for await (const line of createInterface({ input: process.stdin })) {
  const [name = "", seconds = ""] = line.split(" ");
  const run = contests[name];
  process.stdout.write(run === undefined ? `no ${name}\n` : `rate ${await rate(run, Number(seconds))}\n`);
}
