/**
 * TDX appraisals a second beside go-tdx-guest, dcap-qvl and one P-256 verification, each on one thread, over one genuine
 * quote with all its collateral. Rounds alternate, so that a busy machine slows all alike; medians are shown.
 */
import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { parsePemCertificates } from "../../agent/attest/x509.ts";
import { TdxMemo } from "../../agent/attest/tdx/memo.ts";
import { parseQuote } from "../../agent/attest/tdx/quote.ts";
import { verifyTdx } from "../../agent/attest/tdx/verify.ts";
import { utf8 } from "../../agent/attest/bytes.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { GENUINE, strangersPolicy, vector } from "../attest/tdx/genuine.ts";
import { build, PEERS, requestLine } from "../differential/tdx-peers.ts";

const ROUNDS = 5;
const ROUND_SECONDS = 0.7;

const quote = vector("dcap-qvl/near/quote.bin");
const at = Date.parse("2025-09-15");
const reportData = parseQuote(quote).td.fields.reportData.slice();
const pckCrlChain = utf8(vector("go-tdx-guest/testdata/pckCrlIssuerChain.pem"), "chain");
const root = parsePemCertificates(pckCrlChain, "chain").at(-1)?.der ?? new Uint8Array();
const input = `${requestLine({ from: "bench", quote, collateral: GENUINE.near, at, root, pckCrlChain })}\n`;
const policy = strangersPolicy();
const crypto = nodeCrypto({ onThisThread: true });
const memo = new TdxMemo(crypto);
const common = { quote, collateral: GENUINE.near, policy, at, expect: { reportData } };

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const key = createPublicKey(privateKey);
const data = new Uint8Array(632).fill(7);
const signature = sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" });

async function perSecond(run: () => unknown): Promise<number> {
  const from = performance.now();
  let times = 0;
  while (performance.now() - from < 1000 * ROUND_SECONDS) {
    await run();
    times++;
  }
  return (1000 * times) / (performance.now() - from);
}

function peer(program: string): number {
  const { stdout, status } = spawnSync(program, ["-bench", String(ROUND_SECONDS)], {
    input,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${program} failed`);
  return Number(stdout);
}

const contests: readonly (readonly [name: string, run: () => number | Promise<number>])[] = [
  [
    "P-256 verify",
    () => perSecond(() => verify("sha256", data, { key, dsaEncoding: "ieee-p1363" }, signature)),
  ],
  ["sealet warm", () => perSecond(() => verifyTdx({ ...common, crypto, memo }))],
  // nothing is known, not even a parsed key
  [
    "sealet cold",
    () => perSecond(() => verifyTdx({ ...common, crypto: nodeCrypto({ onThisThread: true }) })),
  ],
  ...PEERS.map((one) => {
    const program = build(one);
    return [one.name, () => peer(program)] as const;
  }),
];

// compiled programs need no warming up; ours is measured when the engine has compiled it, too
for (const [, run] of contests.slice(0, 3)) for (let i = 0; i < 4; i++) await run();

const results = new Map<string, number[]>();
for (let round = 0; round < ROUNDS; round++)
  for (const [name, run] of contests) results.set(name, [...(results.get(name) ?? []), await run()]);
for (const [name, values] of results) {
  const median = values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  console.log(`${name.padEnd(14)} ${median.toFixed(0).padStart(7)}/s`);
}
