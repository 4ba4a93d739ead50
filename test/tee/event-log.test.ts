import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEventLog } from "../../agent/attest/eventlog/log.ts";
import { readEventLog } from "../../agent/tee/event-log.ts";

const vector = (path: string): string => new URL(`../vectors/${path}`, import.meta.url).pathname;

describe("the firmware's event log", () => {
  for (const name of ["trustee/eventlog/CCEL_data_gcp", "go-tdx-guest/testdata/ccel/ccel_data.dat"])
    it(`is read without what is unused behind it: ${name}`, async () => {
      const whole = readFileSync(vector(name));
      const log = await readEventLog(vector(name));
      assert.ok(log.length > 10_000 && log.length < whole.length / 2, `${log.length} of ${whole.length}`);
      assert.deepEqual(parseEventLog(log).events.length, parseEventLog(whole).events.length);
    });

  it("is passed on as it is where it is no log, and is empty where there is none", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sealet-"));
    await writeFile(join(folder, "CCEL"), "nonsense");
    assert.equal((await readEventLog(join(folder, "CCEL"))).toString(), "nonsense");
    assert.equal((await readEventLog(join(folder, "none"))).length, 0);
    await rm(folder, { recursive: true });
  });
});
