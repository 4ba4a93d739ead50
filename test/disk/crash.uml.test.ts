/**
 * Power cuts: after any write of a first format, of an unseal and of the initialisation, the next boot ends as an
 * undisturbed one. Every cut is inspected; a sample of them, and each around a change of what is found, is booted.
 * `sh image/run.sh test/disk/cuts.ts` boots from all of them.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";

import { type Crash, crashes } from "./crash.ts";

const samples = 6;

async function run(name: Crash): Promise<void> {
  const { cuts, tried, states } = await crashes[name]({ samples });
  console.log(`      ${cuts} cuts, ${tried} booted: ${states}`);
  assert.deepEqual(readdirSync("/dev/mapper"), ["control"]);
}

describe("I10 power cut", function () {
  this.timeout(0);
  it("in a first format: the next boot formats again, or opens", () => run("format"));
  it("in an unseal: the next boot opens, and what was written stays", () => run("epoch"));
  it("in the initialisation: every sector can be read, and what was written stays", () =>
    run("initialisation"));
});
