/**
 * Holds our verdicts against a peer's answers. Where the two differ, a row of `known-snp.ts` or `known-tdx.ts` has to say why ours is right:
 * where we accept, one that fits the peer's message; where we refuse, one for each predicate that failed. All else is
 * unexplained, and fails the run.
 */
import type { PeerName } from "./peers.ts";

/** One thing that was judged by all. */
export interface Trial {
  /** `CLASS: WHICH`, the artefact, the case or the mutant. */
  readonly from: string;
  /** Predicates that failed; none where we accept. */
  readonly failed: readonly string[];
  /** TDX: the converged TCB status. */
  readonly status: string;
  readonly request: string;
  /** SNP: the report. */
  readonly report?: Uint8Array;
}

export interface Disagreement {
  readonly peers: readonly PeerName[];
  /** What it is about, for the reader. */
  readonly what: string;
  /** What the peer says: "accepts", or messages with which it refuses, or the status it tells. */
  readonly they: "accepts" | RegExp;
  /** What we say: "accepts", or predicates with which we refuse, or the status we tell. */
  readonly we: "accepts" | readonly string[];
  /** Whether it is about this trial; all, where left out. */
  readonly about?: (trial: Trial) => boolean;
  readonly why: string;
}

export interface Tally {
  /** How often each pair of answers was given. */
  readonly pairs: ReadonlyMap<string, number>;
  readonly used: ReadonlyMap<Disagreement, number>;
  readonly unexplained: readonly string[];
}

const count = <K>(map: Map<K, number>, key: K): void => {
  map.set(key, (map.get(key) ?? 0) + 1);
};

/** Genuine, the twin's, a case, or a mutant of some kind. */
const classOf = ({ from }: Trial): string => from.split(":")[0] ?? from;

/**
 * @param tellsStatus whether the peer does; else it accepts UpToDate alone, and so do we against it
 * @param answers the peer's, as they came
 */
export function compare(
  peer: PeerName,
  tellsStatus: boolean,
  trials: readonly Trial[],
  answers: readonly string[],
  known: readonly Disagreement[],
): Tally {
  const rows = known.filter(({ peers }) => peers.includes(peer));
  const pairs = new Map<string, number>();
  const used = new Map<Disagreement, number>();
  const unexplained: string[] = [];
  for (const [i, trial] of trials.entries()) {
    const answer = answers[i] ?? "nothing";
    const theyAccept = answer.startsWith("accepted");
    const failed =
      trial.failed.length === 0 && !tellsStatus && !["", "UpToDate"].includes(trial.status)
        ? ["tdx.tcb.status"]
        : trial.failed;
    const weAccept = failed.length === 0;
    const us = weAccept ? `accepted${tellsStatus ? ` ${trial.status}` : ""}` : `refused ${failed[0] ?? ""}`;
    const them = theyAccept ? answer : answer.includes("PANIC") ? "panics" : "refused";
    count(pairs, `${classOf(trial).padEnd(24)} ${us.padEnd(38)} ${them}`);
    if (weAccept === theyAccept && (!weAccept || us === answer)) continue;

    const about = rows.filter((row) => row.about?.(trial) ?? true);
    const reasons = weAccept
      ? [about.find(({ we, they }) => we === "accepts" && they !== "accepts" && they.test(answer))]
      : failed.map((code) =>
          about.find(({ we, they }) => we !== "accepts" && they === "accepts" && we.includes(code)),
        );
    for (const reason of reasons) if (reason !== undefined) count(used, reason);
    if (reasons.includes(undefined))
      unexplained.push(`${trial.from}: we ${us} (${failed.join(", ")}), ${peer} ${answer}`);
  }
  return { pairs, used, unexplained };
}
