/** The folders of a new state disk, as others than the agent find them. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { makeFolders } from "../../agent/kubelet/kubernetes.ts";

describe("folders of a new state disk", () => {
  let root: string;
  const modes = (...paths: readonly string[]) =>
    Object.fromEntries(paths.map((path) => [path, (statSync(join(root, path)).mode & 0o7777).toString(8)]));
  const EXPECTED = {
    "/var/lib": "755",
    "/var/log": "755",
    "/var/log/pods": "755",
    "/var/log/containers": "755",
    "/var/cache": "755",
    "/var/tmp": "1777",
    "/var/lib/kubelet": "700",
    "/var/lib/containerd": "700",
  };

  before(() => (root = mkdtempSync(join(tmpdir(), "sealet-folders-"))));
  after(() => rmSync(root, { recursive: true }));

  it("have their modes under the unit's umask, and again where a boot was cut before", () => {
    const umask = process.umask(0o077);
    try {
      makeFolders(root);
      assert.deepEqual(modes(...Object.keys(EXPECTED)), EXPECTED);
      chmodSync(join(root, "/var/tmp"), 0o700);
      chmodSync(join(root, "/var/lib"), 0o700);
      makeFolders(root);
      assert.deepEqual(modes(...Object.keys(EXPECTED)), EXPECTED);
    } finally {
      process.umask(umask);
    }
  });
});
