/** The twin as a unit in a whole guest with systemd: what starts after it finds a confidential VM. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../image/artefact.ts";
import { startGuest } from "../uml/guest.ts";
import { twinCaFolder } from "./ca-folder.ts";
import type { TwinConfigFile } from "./config.ts";
import { twinProgram } from "./program.ts";

describe("the twin's unit", function () {
  this.timeout(180_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-twin-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it("serves the devices before the agent starts, from a folder without Node and checkout", async () => {
    cpSync(await twinProgram(), folder, { recursive: true });
    cpSync(await twinCaFolder(), join(folder, "ca"), { recursive: true });
    const config: TwinConfigFile = {
      tee: "sev-snp",
      ca: "/run/twin/ca",
      machine: { measurement: "ab".repeat(48), hostData: "cd".repeat(32) },
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    // in the agent's place: asks the kernel, leaves what it got, and ends the machine
    writeFileSync(
      join(folder, "ask.ts"),
      `import { writeFileSync } from "node:fs";
      import { detectTee } from "${root}/agent/tee/detect.ts";
      const source = await detectTee();
      const { report } = await source.getEvidence(Buffer.alloc(64, 7), { signal: new AbortController().signal });
      writeFileSync("/guest/report", report);`,
    );
    const unit = `[Unit]
      DefaultDependencies=no
      Requires=twin.service
      After=twin.service
      SuccessAction=poweroff-force
      FailureAction=poweroff-force
      [Service]
      Type=oneshot
      StandardOutput=tty
      StandardError=tty
      TTYPath=/dev/console
      ExecStart=/run/twin/node --disable-warning=ExperimentalWarning /run/twin/ask.ts`;
    await using guest = await startGuest({
      memory: 768,
      shares: [{ host: folder, guest: "/run/twin" }, { host: root }],
      script: [
        "mkdir -p /run/systemd/system",
        "cp /run/twin/twin.service /run/systemd/system/",
        `cat > /run/systemd/system/sealet.service <<'UNIT'\n${unit.replaceAll(/^ +/gmu, "")}\nUNIT`,
        "exec /usr/lib/systemd/systemd --unit=sealet.service",
      ].join("\n"),
      timeout: 120_000,
    });
    const end = await guest.ended;
    assert.equal(end.how, "power-off", end.console);
    const report = readFileSync(join(guest.folder, "report"));
    assert.equal(report.subarray(0x90, 0xc0).toString("hex"), "ab".repeat(48));
    assert.equal(report.subarray(0xc0, 0xe0).toString("hex"), "cd".repeat(32));
    assert.ok(report.subarray(0x50, 0x90).every((byte) => byte === 7));
  });
});
