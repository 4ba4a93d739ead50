/** When the state disk's initialisation leaves the processors to others; what it does on a disk: initialisation.uml.test.ts. */
import assert from "node:assert/strict";
import { areWanted } from "../../agent/disk/initialise.ts";

function since(programs: number, idle: number, kernel: number): boolean {
  return areWanted(
    { programs: 5000, idle: 9000, all: 20_000 },
    { programs: 5000 + programs, idle: 9000 + idle, all: 20_000 + programs + idle + kernel },
  );
}

describe("the processors are wanted", () => {
  it("where programs use most of them", () => assert.equal(since(1500, 100, 400), true));
  it("not where much of them is idle", () => assert.equal(since(1000, 900, 100), false));
  it("not where it is the kernel that encrypts for us", () => assert.equal(since(300, 0, 1700), false));
  it("not where nothing was counted", () => assert.equal(since(0, 0, 0), false));
});
