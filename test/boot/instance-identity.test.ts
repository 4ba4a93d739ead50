import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { instanceIdentity } from "../../agent/boot/instance-identity.ts";
import { createIdentity } from "../../agent/kms/identity.ts";

describe("an instance's identity", () => {
  let run: string;
  const key = () => join(run, "instance.key");
  beforeEach(() => {
    run = mkdtempSync(join(tmpdir(), "sealet-instance-"));
  });
  afterEach(() => rmSync(run, { recursive: true }));

  it("is the same for the next agent of a boot", async () => {
    assert.deepEqual(await instanceIdentity(run), await instanceIdentity(run));
  });

  it("I9 has a key that nobody else may read", async () => {
    const umask = process.umask(0);
    try {
      await instanceIdentity(run);
      assert.equal(statSync(key()).mode & 0o777, 0o600);
    } finally {
      process.umask(umask);
    }
  });

  it("I10 is made anew where its maker was killed between key and certificate, or within one", async () => {
    const first = await instanceIdentity(run);
    writeFileSync(key(), (await createIdentity("other")).privateKey);
    const second = await instanceIdentity(run);
    assert.notDeepEqual(second.certificate, first.certificate);
    assert.deepEqual(readFileSync(key()), second.privateKey);
    truncateSync(key(), 20);
    assert.notDeepEqual(await instanceIdentity(run), second);
  });
});
