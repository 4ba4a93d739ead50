/**
 * How many appraisals a second, beside OpenSSL's verification of the same curve in the same run. One thread against one
 * (everything on one thread), then the whole pool against as many. Rounds of what is compared alternate, so that a busy
 * machine slows both; medians are shown.
 */
import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { appraise, AppraisalCache, type Appraisal } from "../../agent/attest/appraise.ts";
import type { Crypto } from "../../agent/attest/crypto.ts";
import { parseCertificateTable } from "../../agent/attest/snp/certificate-table.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { right } from "../attest/snp/mutants.ts";
import { appraise as appraiseTdx, ca as intel } from "../attest/tdx/twin.ts";

const ROUNDS = 5;
const ROUND_MS = 700;

interface Contest {
  readonly name: string;
  readonly run: () => unknown;
  readonly inFlight: number;
}

type Results = Readonly<Record<string, number>>;

/** Runs a second in one round. */
async function round({ run, inFlight }: Contest): Promise<number> {
  const from = performance.now();
  let done = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - from < ROUND_MS) {
      await run();
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (done / (performance.now() - from)) * 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function baseline(curve: "P-256" | "P-384", hash: string): () => boolean {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: curve });
  const key = createPublicKey(privateKey);
  const data = new Uint8Array(672).fill(7);
  const signature = sign(hash, data, { key: privateKey, dsaEncoding: "ieee-p1363" });
  return () => verify(hash, data, { key, dsaEncoding: "ieee-p1363" }, signature);
}

function contests(pool: number): Contest[] {
  const onThisThread = pool === 1;
  const make = (): Crypto => nodeCrypto({ onThisThread });
  const crypto = make();
  const cache = new AppraisalCache(crypto);
  const fresh: Appraisal = { ...right, crypto };
  const quote = intel.quote({});
  const inFlight = onThisThread ? 1 : 4 * pool;
  const warmTdx = { crypto, memo: cache.tdx };
  return [
    { name: "P-384 verify", run: baseline("P-384", "sha384"), inFlight: 1 },
    { name: "SNP warm", run: () => appraise({ ...fresh, cache }), inFlight },
    // cold: nothing is known, not even a parsed key
    { name: "SNP cold", run: () => appraise({ ...fresh, crypto: make() }), inFlight },
    { name: "P-256 verify", run: baseline("P-256", "sha256"), inFlight: 1 },
    { name: "TDX warm", run: () => appraiseTdx(quote, warmTdx), inFlight },
    { name: "TDX cold", run: () => appraiseTdx(quote, { crypto: make() }), inFlight },
    {
      name: "SNP junk refused",
      run: () => appraise({ ...fresh, brief: true, evidence: { ...fresh.evidence, report: JUNK } }),
      inFlight: 1,
    },
    {
      name: "SNP wrong nonce refused",
      run: () =>
        appraise({
          ...fresh,
          cache,
          brief: true,
          expect: { ...fresh.expect, reportData: JUNK.subarray(0, 64) },
        }),
      inFlight: 1,
    },
  ];
}
const JUNK = new Uint8Array(1184).fill(7);

async function measure(pool: number): Promise<Results> {
  const list = contests(pool);
  for (const contest of list) for (let i = 0; i < 20; i++) await contest.run();
  const found = new Map<string, number[]>(list.map(({ name }) => [name, []]));
  for (let i = 0; i < ROUNDS; i++)
    for (const contest of list) found.get(contest.name)?.push(await round(contest));
  return Object.fromEntries([...found].map(([name, values]) => [name, median(values)]));
}

/** Verifications a second by `openssl speed`; undefined where there is none. */
function openssl(algorithm: string, processes: number): number | undefined {
  const args = [
    "speed",
    "-seconds",
    "2",
    "-mr",
    ...(processes > 1 ? ["-multi", String(processes)] : []),
    algorithm,
  ];
  const { stdout } = spawnSync("/usr/bin/openssl", args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  // +F4:<index>:<bits>:<sign>:<verify>; seconds an operation from one process, operations a second summed up of several
  const fields = /^\+F[0-9]+:.*$/m.exec(stdout ?? "")?.[0].split(":");
  const last = Number(fields?.at(-1));
  return Number.isFinite(last) && last > 0 ? (last < 1 ? 1 / last : last) : undefined;
}

const base64 = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("base64");

/** The peer's rate, where `test/differential/snp.ts` has built it. */
function goSevGuest(): number | undefined {
  const binary = join(process.env["SEALET_CACHE"] ?? "/var/cache/sealet", "differential", "go-sev-guest");
  if (!existsSync(binary)) return undefined;
  const files = right.collateral.snp.Genoa;
  const input = JSON.stringify({
    Product: "Genoa",
    At: right.at / 1000,
    Report: base64(right.evidence.report),
    Vek: base64(parseCertificateTable(right.evidence.auxiliary).vcek),
    Ark: base64(files?.ark),
    Ask: base64(files?.ask),
    Asvk: base64(files?.asvk),
  });
  const { stdout } = spawnSync(binary, ["-bench", "2"], {
    input: `${input}\n`,
    encoding: "utf8",
    env: { ...process.env, GOMAXPROCS: "1" },
  });
  return Number(stdout) || undefined;
}

function child(pool: number): Results {
  const { stdout } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), "--measure", String(pool)],
    {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(pool) },
    },
  );
  const parsed: unknown = JSON.parse(stdout);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- printed below
  return parsed as Results;
}

const rate = (value: number | undefined): string => (value === undefined ? "-" : `${value.toFixed(0)}/s`);

async function main(): Promise<void> {
  const [mode, size] = process.argv.slice(2);
  if (mode === "--measure") {
    console.log(JSON.stringify(await measure(Number(size))));
    return;
  }
  for (const pool of [1, cpus().length]) {
    const speed = { "P-384": openssl("ecdsap384", pool), "P-256": openssl("ecdsap256", pool) };
    const found = child(pool);
    const peer = pool === 1 ? goSevGuest() : undefined;
    console.log(
      `\n${pool === 1 ? "one thread" : `pool of ${pool}`}: OpenSSL's own speed: P-384 ${rate(speed["P-384"])}, P-256 ${rate(speed["P-256"])}`,
    );
    if (peer !== undefined) console.log(`  go-sev-guest, cold          ${rate(peer)}`);
    const reference = { SNP: found["P-384 verify"] ?? 0, TDX: found["P-256 verify"] ?? 0 };
    for (const [name, value] of Object.entries(found)) {
      const kind = name.startsWith("SNP") ? "SNP" : name.startsWith("TDX") ? "TDX" : undefined;
      // with several threads the reference is as many times one thread's
      const of = kind === undefined || name.includes("refused") ? undefined : reference[kind] * pool;
      const ratio =
        of === undefined
          ? ""
          : `${(value / of).toFixed(2)} of ${pool > 1 ? `${pool} × ` : ""}${kind === "SNP" ? "P-384" : "P-256"}`;
      console.log(
        `  ${name.padEnd(26)}${rate(value).padStart(10)}   ${(1e6 / value).toFixed(1).padStart(8)} µs   ${ratio}`,
      );
    }
  }
}

await main();
