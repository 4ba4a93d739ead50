/** A boot that the emulator spoilt is told from one that went on, and from one that ended. */
import assert from "node:assert/strict";
import { Console } from "./console.ts";
import { lostItsTimer } from "./machine.ts";

const said = (...lines: string[]) => {
  const output = new Console(performance.now(), () => 0);
  output.feed(Buffer.from(lines.map((line) => `${line}\n`).join("")));
  return output;
};

describe("a machine whose processor lost its timer", () => {
  const loaded = "EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path";
  const up = "[    4.0] initrd: up at 4.06 s";
  const verified = `[    6.0] initrd: root ${"5a".repeat(32)} verified at 6.01 s`;

  it("is known by its silence before the root is there", async () => {
    assert.equal(await lostItsTimer(said(loaded), 0.01), true);
    assert.equal(await lostItsTimer(said(loaded, up), 0.01), true);
    const handing = "[    6.2] initrd: handing over at 6.24 s";
    assert.equal(await lostItsTimer(said(loaded, up, verified, handing), 0.01), false);
    const panic = "[    6.0] Kernel panic - not syncing: dm-verity device corrupted";
    assert.equal(await lostItsTimer(said(loaded, up, panic), 0.01), false);
    assert.equal(await lostItsTimer(said(loaded, up, "[    4.1] initrd: FATAL: no"), 0.01), false);
  });

  it("is not taken for one whose kernel never began, nor for one that went off", async () => {
    assert.equal(await lostItsTimer(said("BdsDxe: starting Boot0001"), 0.01), false);
    const output = said(loaded);
    const lost = lostItsTimer(output, 60);
    output.end("node-1 is off");
    assert.equal(await lost, false);
  });
});
