/** The release executable as a program: what its Node would do that sealet does not want. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { executable } from "../../image/image.ts";
import { freePort, type Server, startServer, until } from "../cluster/process.ts";

/** A process's mappings (proc(5), maps) that it can run, but for files' that it can't write and the kernel's own. */
function unbackedCode(maps: string): string[] {
  return maps.split("\n").filter((line) => {
    const [, flags = "", , , inode, name = ""] = line.split(/ +/u);
    return (
      flags.includes("x") && (flags.includes("w") || (inode === "0" && !/^\[v(dso|syscall)\]$/u.test(name)))
    );
  });
}

describe("the release executable", function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), "sealet-executable-"));
  const at = (name: string) => join(folder, name);
  let program = "";
  const open = new AsyncDisposableStack();
  let kms: Server;

  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    spawnSync(program, args, { encoding: "utf8", env });

  before(async () => {
    open.defer(() => rmSync(folder, { recursive: true }));
    program = join(await executable(), "sealet");
    const key = ["--operator-key", at("operator.key.pub")];
    assert.equal(run(["operator", "init", "--key", at("operator.key")]).status, 0);
    const address = `127.0.0.1:${await freePort()}`;
    const init = ["--dir", at("kms"), "--cluster", "prod", "--endpoint", address, "--listen", address];
    assert.equal(run(["kms", "init", ...init, ...key]).status, 0);
    kms = startServer("sealet kms", [program, "kms", "serve", "--dir", at("kms")], { log: at("log") });
    open.defer(() => kms.stop());
    await until(kms, async () => existsSync(at("kms/operator.sock")), 20);
  });
  after(async () => open.disposeAsync());

  it("runs no code but that of files, which it can't write", () => {
    const maps = readFileSync(`/proc/${kms.pid}/maps`, "utf8");
    assert.match(maps, / r-xp .*\/sealet$/mu);
    assert.deepEqual(unbackedCode(maps), []);
  });

  it("opens no debugger for whoever may send it a signal", async () => {
    process.kill(kms.pid, "SIGUSR1");
    await sleep(500);
    assert.equal(kms.ended(), false);
    assert.doesNotMatch(readFileSync(at("log"), "utf8"), /debugger/iu);
  });

  it("takes no options for its Node, by environment or argument", () => {
    writeFileSync(at("hook.cjs"), `require("node:fs").writeFileSync(${JSON.stringify(at("hooked"))}, "")`);
    const option = `--require=${at("hook.cjs")}`;
    assert.equal(run(["version"], { NODE_OPTIONS: option }).status, 0);
    assert.equal(run([option, "version"]).status, 64);
    assert.equal(run([`--node-options=${option}`, "version"]).status, 64);
    assert.equal(existsSync(at("hooked")), false);
  });
});
