/** That no disagreement goes unnoticed. The peers themselves are asked by `run.ts`, outside of the tests. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { compare, type Disagreement, type Trial } from "./compare.ts";
import { readmeIsRight } from "./readme.ts";

const trial = (failed: readonly string[], status = "UpToDate"): Trial => ({
  from: "case: one",
  failed,
  status,
  request: "",
});
const row = (they: Disagreement["they"], we: Disagreement["we"]): Disagreement => ({
  peers: ["dcap-qvl"],
  what: "",
  they,
  we,
  why: "",
});
const unexplained = (one: Trial, answer: string, rows: readonly Disagreement[] = []): number =>
  compare("dcap-qvl", true, [one], [answer], rows).unexplained.length;

describe("what other verifiers say", () => {
  it("is no disagreement where verdict and status are the same", () => {
    assert.equal(unexplained(trial([]), "accepted UpToDate"), 0);
    assert.equal(unexplained(trial(["tdx.quote.format"]), 'refused "no quote"'), 0);
  });

  it("has to be explained where we alone accept, refuse, or tell another status", () => {
    assert.equal(unexplained(trial([]), 'refused "no quote"'), 1);
    assert.equal(unexplained(trial(["tdx.quote.format"]), "accepted UpToDate"), 1);
    assert.equal(unexplained(trial([]), "accepted OutOfDate"), 1);
    assert.equal(unexplained(trial([]), ""), 1);
  });

  it("is explained by a row that fits its message, in the right direction, for that peer", () => {
    assert.equal(unexplained(trial([]), 'refused "no quote"', [row(/no quote/u, "accepts")]), 0);
    assert.equal(unexplained(trial([]), 'refused "else"', [row(/no quote/u, "accepts")]), 1);
    assert.equal(unexplained(trial([]), 'refused "no quote"', [row("accepts", ["tdx.quote.format"])]), 1);
    const others = { ...row(/no quote/u, "accepts"), peers: ["go-tdx-guest"] as const };
    assert.equal(unexplained(trial([]), 'refused "no quote"', [others]), 1);
  });

  it("needs a row for each predicate that failed", () => {
    const two = trial(["tdx.quote.format", "tdx.td.debug"]);
    const first = row("accepts", ["tdx.quote.format"]);
    assert.equal(unexplained(two, "accepted UpToDate", [first]), 1);
    assert.equal(unexplained(two, "accepted UpToDate", [first, row("accepts", ["tdx.td.debug"])]), 0);
  });

  it("of a peer that accepts UpToDate alone is held against that", () => {
    for (const [answer, times] of [
      ['refused "TCB"', 0],
      ["accepted", 1],
    ] as const) {
      const { unexplained: found } = compare("go-tdx-guest", false, [trial([], "OutOfDate")], [answer], []);
      assert.equal(found.length, times);
    }
  });

  it("is in the README as it is in the tables of known disagreements", async () => {
    assert.equal(await readmeIsRight(false), true, "run.ts --write brings it up to date");
  });
});
