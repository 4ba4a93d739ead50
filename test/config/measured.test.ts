import assert from "node:assert/strict";
import { parseMeasured } from "../../agent/config/measured.ts";

const good = {
  version: 1,
  logLevel: "info",
  api: { port: 7444 },
  stateDisk: { minimumBytes: 1024 ** 3 },
};

describe("measured configuration", () => {
  it("is read", () => {
    assert.deepEqual(parseMeasured(Buffer.from(JSON.stringify(good))), good);
  });

  it("refuses what it does not know, all at once", () => {
    const stateDisk = { minimumBytes: 64 * 1024 ** 2 - 1 };
    const bad = { ...good, logLevel: "loud", api: { port: 0 }, stateDisk, shell: true };
    assert.throws(() => parseMeasured(Buffer.from(JSON.stringify(bad))), {
      code: "CONFIG_INVALID",
      message: /\.logLevel.*\.api\.port.*\.stateDisk\.minimumBytes.*"shell"/,
    });
    assert.throws(() => parseMeasured(Buffer.from("{")), { code: "CONFIG_INVALID" });
  });
});
