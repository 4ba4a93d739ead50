/**
 * `npm run bench attest [-- --write --rounds=N --seconds=S]`: appraisals a second of ours and of five other verifiers, beside
 * `openssl speed` of the same curve, in one run. Contestants take turns, round for round, so that a busy machine slows all
 * alike; medians are shown, of rates and of the rounds' ratios. One thread is held against one (everything pinned to one
 * core, but where the table says otherwise), our whole pool against `openssl speed -multi`. `--write` puts the table into
 * `attest.md`. Needs Go, Rust and npm.
 */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { format } from "prettier";
import { main } from "../../image/command.ts";
import { say } from "../../image/progress.ts";
import { contestants, CORES, ORDER, SECTIONS, type Contestant } from "./attest/contestants.ts";
import { opensslVersion } from "./attest/openssl.ts";
import { markdown, terminal, type Figure, type Goal, type Section } from "./attest/table.ts";
import { median } from "./median.ts";

/** Operations a second of each round, by contestant. */
type Rates = ReadonlyMap<string, readonly number[]>;

async function measure(list: readonly Contestant[], rounds: number, seconds: number): Promise<Rates> {
  const found = new Map<string, number[]>(list.map(({ id }) => [id, []]));
  // engines that compile while they run have to have done so
  for (const { rate, id } of list) if (!id.startsWith("openssl")) await rate(0.3);
  for (let round = 1; round <= rounds; round++) {
    for (const { id, rate } of list) found.get(id)?.push(await rate(seconds));
    say(`round ${round} of ${rounds}`);
  }
  return found;
}

/** The median of the rounds' ratios: what slowed a round slowed both. */
function ratio(rates: Rates, id: string, to: string): number | undefined {
  const [own, others] = [rates.get(id), rates.get(to)];
  if (own === undefined || others === undefined) return undefined;
  return median(own.map((rate, round) => rate / (others[round] ?? rate)));
}

function sections(list: readonly Contestant[], rates: Rates): Section[] {
  return ORDER.map((section) => ({
    title: SECTIONS[section],
    figures: list
      .filter((one) => one.section === section)
      .map(({ id, name, where, checks, curve, rival }): Figure => {
        const reference = `openssl${section === "pool" ? "-multi" : ""} ${curve ?? ""}`;
        return {
          name,
          where,
          rate: median(rates.get(id) ?? []),
          ofOpenssl: ratio(rates, id, reference),
          ours: rival === undefined ? undefined : ratio(rates, rival, id),
          checks,
        };
      }),
  }));
}

function goals(rates: Rates): Goal[] {
  const ways = { one: "all on one core", two: "event loop and one signature thread, a core each" } as const;
  return (["one", "two"] as const).flatMap((way) =>
    (
      [
        ["SNP warm of one P-384 verification", 0.95, "snp-warm", "openssl P-384"],
        ["SNP cold of sev's cold", 1, "snp-cold", "sev SNP cold"],
        ["TDX warm of one P-256 verification", 0.9, "tdx-warm", "openssl P-256"],
        ["TDX cold of dcap-qvl's cold", 0.8, "tdx-cold", "dcap-qvl TDX cold"],
      ] as const
    ).map(([what, wanted, id, to]) => ({
      what: `${what}, ${ways[way]}`,
      wanted,
      found: ratio(rates, `${way} ${id}`, to),
    })),
  );
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      write: { type: "boolean", default: false },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "0.7" },
    },
  });
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  const load = loadavg()[0]?.toFixed(1) ?? "?";
  const system = opensslVersion();
  if (system === undefined) say("There is no /usr/bin/openssl: nothing is held against `openssl speed`.");
  const { list, close } = await contestants(system);
  const rates = await measure(list, rounds, seconds);
  await close();

  const table = sections(list, rates);
  console.log(`\n${terminal(table, goals(rates))}`);
  if (!values.write) return;
  const about = `# Appraisals a second

${new Date().toISOString().slice(0, 10)}, ${cpus()[0]?.model.trim() ?? "?"}, ${CORES} cores, load ${load} before it began. Node ${process.versions.node}, whose
OpenSSL is ${process.versions.openssl}. Made by \`npm run bench attest -- --write --rounds=${rounds} --seconds=${seconds}\`.

Contestants took turns, ${rounds} times ${seconds} s each; medians. "of openssl": of the verifications that \`openssl speed\` did in
the same round, on the same core, or with \`-multi\` on all. "ours to it": how often sealet does the same, all of it on the same
core, while that one does it once. sev has OpenSSL 3.6.3 of its own, as its crate's defaults have it; dcap-qvl has ring.

${markdown(table, goals(rates))}
`;
  const file = join(import.meta.dirname, "attest.md");
  writeFileSync(file, await format(about, { parser: "markdown", printWidth: 110 }));
  say(`written: ${file}`);
});
