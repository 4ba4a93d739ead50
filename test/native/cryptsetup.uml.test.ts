import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { CryptDevice } from "../../native/cryptsetup.ts";
import { findDevice } from "../../native/device-mapper.ts";
import { memoryFile, sealedMemoryFile } from "../../native/memfd.ts";

const DISK = "/dev/ubdb";
const [first, second] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const FORMAT = {
  cipher: "aegis128",
  mode: "random",
  integrity: "aead",
  keyBytes: 16,
  uuid: "11111111-2222-4333-8444-555555555555",
  sectorBytes: 4096,
  dataOffsetSectors: 8192,
  metadataBytes: 16384,
  keyslotsBytes: 262144,
  pbkdfIterations: 1000,
};

describe("libcryptsetup", function () {
  this.timeout(30_000);
  const memory = memoryFile("header", Buffer.alloc(294912));

  it("formats with a header in memory, adds and destroys keyslots", async () => {
    await using device = await CryptDevice.init(memory.path, DISK);
    await device.format(FORMAT);
    assert.equal(await device.addFirstKeyslot(first), 0);
    assert.equal(await device.addKeyslot(first, second), 1);
    await assert.rejects(device.addKeyslot(Buffer.alloc(32, 3), second), { code: "DISK_KEY_REFUSED" });
    await device.activate(undefined, second);
    await device.destroyKeyslot(1);
    await assert.rejects(device.activate(undefined, second), { code: "DISK_KEY_REFUSED" });
    await device.activate(undefined, first);
  });

  it("opens by a copy that nobody can change, and keeps the event loop free meanwhile", async () => {
    using sealed = sealedMemoryFile("header", readFileSync(memory.path));
    await using device = await CryptDevice.init(sealed.path, DISK);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await device.load();
    await device.activate("test", first);
    clearInterval(timer);
    assert.ok(ticks > 0);
    assert.match(
      (await findDevice("test"))?.uuid ?? "",
      /^CRYPT-LUKS2-11111111222243338444555555555555-test$/,
    );
    await assert.rejects(device.activate("test", first), { code: "DISK_BUSY" });
    await device.deactivate("test");
    assert.equal(await findDevice("test"), undefined);
  });

  it("says why it failed, in libcryptsetup's words", async () => {
    using empty = memoryFile("header", Buffer.alloc(294912));
    await using device = await CryptDevice.init(empty.path, DISK);
    await assert.rejects(device.load(), { code: "NATIVE_FAILED", message: /crypt_load failed with EINVAL/ });
    await assert.rejects(device.format({ ...FORMAT, cipher: "none-such" }), { message: /none-such/ });
    await assert.rejects(CryptDevice.init("/dev/none"), { code: "NATIVE_FAILED" });
    await assert.rejects(device.deactivate("none-such"), { code: "NATIVE_FAILED" });
  });

  it("reads and writes tokens", async () => {
    await using device = await CryptDevice.init(memory.path, DISK);
    await device.load();
    const token = await device.writeToken(undefined, '{"type":"test","keyslots":["0"],"note":"x"}');
    assert.match(await device.readToken(token), /"note":"x"/);
  });

  it("can't be used after its end", async () => {
    const device = await CryptDevice.init(memory.path, DISK);
    await device[Symbol.asyncDispose]();
    await device[Symbol.asyncDispose]();
    await assert.rejects(device.load(), { code: "INTERNAL" });
  });
});
