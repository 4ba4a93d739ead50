/** The guest itself: that the tests beside this one run on what they believe to run on. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

describe("guest", () => {
  it("runs as root on a kernel of its own", () => {
    assert.equal(process.getuid?.(), 0);
    assert.match(readFileSync("/proc/version", "utf8"), /^Linux version 6\.12\./u);
  });

  it("has scratch disks, known by their serials", () => {
    assert.equal(readFileSync("/sys/block/ubdb/serial", "utf8").trim(), "scratch0");
    assert.equal(readFileSync("/sys/block/ubdc/serial", "utf8").trim(), "scratch1");
  });

  it("has device mapper, FUSE and CUSE", () => {
    for (const path of ["/dev/mapper/control", "/dev/fuse", "/dev/cuse"]) assert.ok(existsSync(path), path);
  });

  it("can't write to the checkout", () => {
    assert.throws(
      () => {
        writeFileSync(new URL("never", import.meta.url), "");
      },
      { code: "EROFS" },
    );
  });
});
