/**
 * `sh image/run.sh test/differential/run.ts [COUNT [SEED]]`: the same evidence, collateral and time to ours and to the five
 * peers; COUNT mutants for each TEE. It prints how the answers go together, and fails where one differs for a reason that
 * the README's table does not name. `--write` brings that table up to date. Needs Go, Rust and npm; what they build is kept
 * in the cache.
 */
import { parseArgs } from "node:util";
import { main } from "../../image/command.ts";
import { say } from "../../image/progress.ts";
import { compare, type Disagreement, type Trial } from "./compare.ts";
import { build, Conversation, PEERS, version, type Peer } from "./peers.ts";
import { KNOWN, readmeIsRight } from "./readme.ts";
import { snpTrials } from "./snp.ts";
import { tdxTrials } from "./tdx.ts";

async function answersOf(peer: Peer, trials: readonly Trial[]): Promise<string[]> {
  const program = new Conversation(await build(peer));
  const answers: string[] = [];
  for (const { request } of trials) answers.push(await program.ask(request));
  await program.close();
  return answers;
}

/** @returns how many disagreements nobody has explained */
async function hold(peer: Peer, trials: readonly Trial[], used: Set<Disagreement>): Promise<number> {
  const name = `${peer.library} ${version(peer)}`;
  const tally = compare(peer.name, peer.status, trials, await answersOf(peer, trials), KNOWN);
  console.log(`\n== ${name} ==`);
  for (const [pair, times] of [...tally.pairs].toSorted(([a], [b]) => a.localeCompare(b)))
    console.log(`${String(times).padStart(6)}  ${pair}`);
  for (const [row, times] of tally.used) {
    used.add(row);
    console.log(`${String(times).padStart(6)}  explained: ${row.what}`);
  }
  for (const one of tally.unexplained.slice(0, 100)) console.log(`UNEXPLAINED  ${one}`);
  return tally.unexplained.length;
}

await main(async () => {
  const { values, positionals } = parseArgs({
    options: { write: { type: "boolean", default: false }, peer: { type: "string" } },
    allowPositionals: true,
  });
  const [count, seed] = [Number(positionals[0] ?? 2000), Number(positionals[1] ?? 1)];
  const stale = !(await readmeIsRight(values.write));
  const trials = { snp: await snpTrials(count, seed), tdx: await tdxTrials(count, seed) };
  say(`judged ${trials.snp.length} SNP reports and ${trials.tdx.length} TDX quotes (seed ${seed})`);
  const used = new Set<Disagreement>();
  let unexplained = 0;
  for (const peer of PEERS)
    if (values.peer === undefined || values.peer === peer.name)
      unexplained += await hold(peer, trials[peer.tee], used);
  const idle = KNOWN.filter((row) => !used.has(row)).map(({ what }) => what);
  if (idle.length > 0) console.log(`\nNot met this time: ${idle.join("; ")}`);
  if (stale)
    console.log("\nThe README's table is not that of known-snp.ts and known-tdx.ts: run this with --write.");
  console.log(`\n${unexplained} disagreements that nobody has explained`);
  if (unexplained > 0 || stale) process.exitCode = 1;
});
