/** What holds for every command: help, usage, JSON. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { EXIT } from "../../agent/cli/exit.ts";
import { run } from "./run.ts";

const MAIN = join(import.meta.dirname, "../../agent/main.ts");

const sh = (line: string) =>
  spawnSync("bash", ["-c", line.replaceAll("sealet", `"${process.execPath}" "${MAIN}"`)], {
    encoding: "utf8",
  });

/** From each help to those of the commands that it names. */
async function helps(...path: string[]): Promise<string[][]> {
  const { exit, out, err } = await run(...path, "--help");
  assert.equal(exit, EXIT.OK, `${path.join(" ")}: ${err}`);
  const [, list = ""] = out.split("\nCommands:\n");
  const names = [...list.matchAll(/^ {2}([a-z][a-z-]*)/gmu)].map(([, name = ""]) => name);
  const below = names.filter((name) => name !== "help").map((name) => helps(...path, name));
  return [path, ...(await Promise.all(below)).flat()];
}

describe("every command", () => {
  it("has a help", async () => {
    const found = (await helps()).map((path) => path.join(" "));
    for (const name of ["status", "kms serve", "nodes reissue", "audit list", "collateral fetch"])
      assert.ok(found.includes(name), name);
  });

  it("says what is wrong with its usage: with help for people, as JSON for programs", async () => {
    for (const wrong of [["bogus"], ["nodes", "add", "w"], ["audit", "list", "--limit", "x"]]) {
      const words = await run(...wrong);
      assert.equal(words.exit, EXIT.USAGE);
      assert.match(words.err, /^error: .*\n\nUsage: sealet/u);
      for (const json of [
        ["-o", "json", ...wrong],
        [...wrong, "--output=json"],
      ]) {
        const { exit, out, err } = await run(...json);
        assert.equal(exit, EXIT.USAGE);
        assert.equal(out, "");
        assert.match(err, /^\{"error":\{"code":"USAGE","message":"[^"]+.*\}\}\n$/u);
      }
    }
  });

  it("ends quietly when nobody reads on, and tells of a full disk", () => {
    const gone = sh("sealet help | true; exit ${PIPESTATUS[0]}");
    assert.doesNotMatch(gone.stderr, /Error|at /u);
    const full = sh("sealet help > /dev/full");
    assert.equal(full.status, EXIT.IO);
    assert.match(full.stderr, /Standard output cannot be written: ENOSPC/u);
  });
});
