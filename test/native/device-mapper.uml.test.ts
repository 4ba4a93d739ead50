import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";

import {
  createDevice,
  findDevice,
  listDevices,
  loadTable,
  readStatus,
  readTable,
  removeDevice,
  resumeDevice,
  sendMessage,
  suspendDevice,
  type Target,
} from "../../native/device-mapper.ts";

const zero = (start: number, sectors: number): Target => ({ start, sectors, type: "zero", parameters: "" });
const error = (start: number, sectors: number): Target => ({ start, sectors, type: "error", parameters: "" });

describe("device mapper", () => {
  it("creates a device of several targets, and tells its tables and its number", async () => {
    const device = await createDevice("test", "TEST-1", [zero(0, 8), error(8, 8), zero(16, 16)]);
    assert.ok(existsSync(device.path));
    assert.deepEqual(
      [device.name, device.uuid, device.suspended, device.openCount],
      ["test", "TEST-1", false, 0],
    );
    assert.equal(readFileSync(`/sys/dev/block/${device.number}/size`, "utf8").trim(), "32");
    assert.deepEqual(await readTable("test"), [zero(0, 8), error(8, 8), zero(16, 16)]);
    assert.deepEqual(
      (await readStatus("test")).map(({ type }) => type),
      ["zero", "error", "zero"],
    );
    assert.deepEqual(await findDevice("test"), device);
    await createDevice("other", "", [zero(0, 8)]);
    assert.deepEqual((await listDevices()).toSorted(), ["other", "test"]);
    await removeDevice("other");
  });

  it("changes a table under an open device", async () => {
    await using file = await open((await findDevice("test"))?.path ?? "", "r");
    await assert.rejects(removeDevice("test"), { code: "DISK_BUSY" });
    await suspendDevice("test", true);
    assert.equal((await findDevice("test"))?.suspended, true);
    await loadTable("test", [{ start: 0, sectors: 32, type: "linear", parameters: "/dev/ubdb 64" }]);
    const device = await resumeDevice("test");
    assert.deepEqual([device.suspended, device.openCount], [false, 1]);
    assert.equal((await readTable("test"))[0]?.type, "linear");
    assert.equal((await file.read(Buffer.alloc(512), 0, 512, 0)).bytesRead, 512);
  });

  it("leaves nothing of a device that can't be made", async () => {
    const bad = [{ start: 0, sectors: 8, type: "none-such", parameters: "" }];
    await assert.rejects(createDevice("bad", "TEST-2", bad), { code: "NATIVE_FAILED" });
    assert.equal(await findDevice("bad"), undefined);
    await assert.rejects(createDevice("test", "TEST-3", [zero(0, 8)]), { code: "DISK_BUSY" });
    assert.equal((await findDevice("test"))?.uuid, "TEST-1");
    await assert.rejects(sendMessage("test", "none-such"), { code: "NATIVE_FAILED" });
    await assert.rejects(createDevice("x".repeat(128), "", []), RangeError);
  });

  it("removes", async () => {
    await removeDevice("test");
    assert.equal(await findDevice("test"), undefined);
    assert.deepEqual(await listDevices(), []);
    await assert.rejects(removeDevice("test"), { code: "NATIVE_FAILED" });
  });
});
