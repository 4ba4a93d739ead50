/** Root key, nonces, throttle, pod network, directory: each by itself. */
import assert from "node:assert/strict";
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { createDirectory, openDirectory, pathsOf } from "../../agent/kms/directory.ts";
import { Nonces } from "../../agent/kms/nonces.ts";
import { podCidr } from "../../agent/kms/pod-network.ts";
import { checkSizes } from "../../agent/kms/request-form.ts";
import { type KeyName, createRootKeyFile, readRootKeyFile } from "../../agent/kms/root-key.ts";
import { type Share, Throttle } from "../../agent/kms/throttle.ts";
import { createOperatorKey } from "../../agent/cli/sign.ts";
import { syncsOf } from "../syncs.ts";

const EMPTY = Buffer.alloc(0);
let folder: string;

/** Of each test that asks for it: hooks outside a suite would be every file's. */
function inFolder(): void {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-parts-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
}

describe("Root key", () => {
  inFolder();
  const name: KeyName = {
    cluster: "prod",
    purpose: "disk-key",
    resource: ["id", "worker", "uuid"],
    generation: 1,
  };

  it("gives one key for one name, and another for every other", () => {
    const path = join(folder, "root.key");
    assert.deepEqual(
      syncsOf(() => createRootKeyFile(path)),
      ["file"],
    );
    assert.equal(statSync(path).mode & 0o777, 0o600);
    using root = readRootKeyFile(path);
    using again = readRootKeyFile(path);
    const key = root.derive(name);
    assert.equal(key.length, 32);
    assert.deepEqual(again.derive(name), key);
    const others: KeyName[] = [
      { ...name, cluster: "prod2" },
      { ...name, purpose: "header-mac" },
      { ...name, generation: 2 },
      { ...name, resource: ["id", "control-plane", "uuid"] },
      // The same text, cut elsewhere.
      { ...name, resource: ["idworker", "uuid"] },
      { ...name, resource: ["id", "workeruuid"] },
      { ...name, resource: ["id", "worker", "uuid", ""] },
      { ...name, resource: ["id", "worker"] },
    ];
    const keys = [key, ...others.map((other) => root.derive(other))].map((bytes) => bytes.toString("hex"));
    assert.equal(new Set(keys).size, keys.length);
  });

  it("is never replaced, and refused where others read it, cut, or reached by a link", () => {
    const path = join(folder, "root.key");
    createRootKeyFile(path);
    assert.throws(() => createRootKeyFile(path), { code: "CONFIG_INVALID" });
    symlinkSync(path, join(folder, "link"));
    assert.throws(() => readRootKeyFile(join(folder, "link")), { code: "CONFIG_INVALID" });
    chmodSync(path, 0o640);
    assert.throws(() => readRootKeyFile(path), { code: "CONFIG_INVALID", message: /Others may read/ });
    chmodSync(path, 0o600);
    for (const length of [33, 31]) {
      truncateSync(path, length);
      assert.throws(() => readRootKeyFile(path), { code: "CONFIG_INVALID" });
    }
    assert.throws(() => readRootKeyFile(join(folder, "none")), { code: "CONFIG_INVALID" });
  });

  it("is gone after its scope", () => {
    const path = join(folder, "root.key");
    createRootKeyFile(path);
    const root = readRootKeyFile(path);
    root[Symbol.dispose]();
    assert.throws(() => root.derive(name));
  });
});

const peer = (name: string): Share => ({ name, leased: false });
const lease = (name: string): Share => ({ name, leased: true });

describe("Nonces", () => {
  it("are good once, for who asked, until they expire; whatever the order, and whichever way the clock goes", () => {
    const step = fc.record({ peer: fc.nat(2), wait: fc.integer({ min: -120, max: 40 }), take: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const nonces = new Nonces({ lifetimeMs: 100, perPeer: 3, total: 5 });
        let now = 10_000;
        let out: { nonce: Buffer; peer: string; issued: number }[] = [];
        for (const { peer: number, wait, take } of steps) {
          now += wait;
          const name = `p${number}`;
          if (take) {
            const mine = out.find((each) => each.peer === name);
            if (mine === undefined) continue;
            assert.throws(() => nonces.take(mine.nonce, "other", now), { code: "NONCE_INVALID" });
            const use = () => nonces.take(mine.nonce, name, now);
            if (mine.issued <= now && now < mine.issued + 100) use();
            assert.throws(use, { code: "NONCE_INVALID" });
            out.splice(out.indexOf(mine), 1);
            continue;
          }
          // What was over once is forgotten, also where the clock then comes back to its time.
          out = out.filter(({ issued }) => issued <= now && now < issued + 100);
          if (out.filter((each) => each.peer === name).length >= 3 || out.length >= 5)
            assert.throws(() => nonces.issue(name, peer(name), now), { code: "KMS_BUSY" });
          else out.push({ ...nonces.issue(name, peer(name), now), peer: name, issued: now });
          assert.equal(nonces.size, Math.min(5, out.length));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("give their room back where the clock is set back", () => {
    const nonces = new Nonces({ lifetimeMs: 100, perPeer: 2, total: 2 });
    for (let i = 0; i < 2; i++) nonces.issue("a", peer("a"), 1_000_000);
    assert.throws(() => nonces.issue("a", peer("a"), 1_000_050), { code: "KMS_BUSY" });
    const { nonce } = nonces.issue("a", peer("a"), 5000);
    nonces.take(nonce, "a", 5050);
  });

  it("a lease's are its own: strangers leave no room, and it takes none of theirs", () => {
    const nonces = new Nonces({ lifetimeMs: 100, perPeer: 2, total: 2 });
    for (let i = 0; i < 2; i++) nonces.issue("a", peer("a"), 0);
    assert.throws(() => nonces.issue("b", peer("b"), 0), { code: "KMS_BUSY" });
    const own = Array.from({ length: 6 }, () => nonces.issue("b", lease("lease b"), 0).nonce);
    assert.equal(nonces.size, 6);
    // Four are kept: whoever lost some on their way is not kept waiting for them.
    const good = own.map((nonce) => {
      try {
        nonces.take(nonce, "b", 0);
        return true;
      } catch {
        return false;
      }
    });
    assert.deepEqual(good, [false, false, true, true, true, true]);
    for (let i = 0; i < 4; i++) nonces.issue("b", lease("lease b"), 100);
    for (let i = 0; i < 2; i++) nonces.issue("a", peer("a"), 100);
  });
});

describe("Throttle", () => {
  it("holds one address back for the rest of its minute, and nobody else", () => {
    const throttle = new Throttle(2);
    for (let i = 0; i < 2; i++) {
      throttle.admit(peer("a"), 1000);
      throttle.refused(peer("a"), 1000);
    }
    assert.throws(() => throttle.admit(peer("a"), 60_000), { code: "KMS_BUSY" });
    throttle.admit(peer("b"), 60_000);
    throttle.admit(peer("a"), 62_000);
  });

  it("forgets its minute where the clock is set back", () => {
    const throttle = new Throttle(1);
    throttle.refused(peer("a"), 1_000_000);
    assert.throws(() => throttle.admit(peer("a"), 1_000_000), { code: "KMS_BUSY" });
    throttle.admit(peer("a"), 5000);
  });

  it("counts a machine with many addresses once, and does not grow with their number", () => {
    const throttle = new Throttle(1);
    for (let i = 0; i < 10_000; i++) throttle.refused(peer(`peer-${i}`), 0);
    assert.throws(() => throttle.admit(peer("peer-9999999"), 0), { code: "KMS_BUSY" });
  });

  it("holds a lease back for its own refusals only, however many strangers there are", () => {
    const throttle = new Throttle(1);
    for (let i = 0; i < 5000; i++) throttle.refused(peer(`peer-${i}`), 0);
    throttle.admit(lease("lease a"), 0);
    throttle.refused(lease("lease a"), 0);
    assert.throws(() => throttle.admit(lease("lease a"), 0), { code: "KMS_BUSY" });
    throttle.admit(lease("lease b"), 0);
    throttle.admit(lease("lease a"), 60_000);
  });
});

describe("A request's form", () => {
  it("has a bound for each part, and none is a byte longer", () => {
    const evidence = { tee: "tdx", report: EMPTY, auxiliary: EMPTY, eventLog: EMPTY };
    for (const [part, most] of [
      ["report", 16_384],
      ["auxiliary", 65_536],
      ["eventLog", 131_072],
    ] as const) {
      const request = (bytes: number) => ({
        body: EMPTY,
        evidence: { ...evidence, [part]: Buffer.alloc(bytes) },
      });
      assert.equal(checkSizes(request(most))[part].length, most);
      assert.throws(() => checkSizes(request(most + 1)), { code: "REQUEST_INVALID" }, part);
    }
    assert.throws(() => checkSizes({ body: Buffer.alloc(16_385), evidence }), { code: "REQUEST_INVALID" });
  });
});

describe("Pod network", () => {
  it("gives each node its part, and none beyond the end", () => {
    const network = { cidr: "10.244.0.0/16", nodePrefix: 24 };
    assert.equal(podCidr(network, 0), "10.244.0.0/24");
    assert.equal(podCidr(network, 255), "10.244.255.0/24");
    assert.throws(() => podCidr(network, 256), { code: "RELEASE_REFUSED", predicate: "podNetwork" });
    assert.equal(podCidr({ cidr: "192.168.128.0/17", nodePrefix: 26 }, 5), "192.168.129.64/26");
  });
});

describe("KMS directory", () => {
  inFolder();
  it("is made whole, for its owner alone, and never over another", async () => {
    const directory = join(folder, "kms");
    const parts = setup();
    await createDirectory(directory, parts);
    for (const file of ["root.key", "tls.key", "ca.key"])
      assert.equal(statSync(join(directory, file)).mode & 0o777, 0o600);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    const opened = openDirectory(directory);
    opened.rootKey[Symbol.dispose]();
    assert.equal(opened.configuration.leaseSeconds, 300);
    await assert.rejects(createDirectory(directory, parts), { code: "CONFIG_INVALID", message: /not empty/ });
    chmodSync(directory, 0o755);
    assert.throws(() => openDirectory(directory), { code: "CONFIG_INVALID", message: /Others/ });
  });

  it("is not begun with a configuration that is wrong", async () => {
    const directory = join(folder, "kms");
    const parts = setup();
    for (const wrong of [
      { cluster: "Prod" },
      { endpoints: [] },
      { endpoints: ["kms"] },
      { operatorKeys: [] },
      { operatorKeys: [Buffer.from("no key")] },
      { leaseSeconds: -1 },
      { podNetwork: { cidr: "10.0.0.1/16", nodePrefix: 24 } },
      { podNetwork: { cidr: "10.0.0.0/24", nodePrefix: 16 } },
      { apiServers: ["http://api"] },
      { apiServers: ["https://api-1", "https://api-2"] },
    ]) {
      await assert.rejects(createDirectory(directory, { ...parts, ...wrong }), { code: "CONFIG_INVALID" });
      assert.throws(() => statSync(directory), { code: "ENOENT" });
    }
  });

  it("says what is wrong with a configuration, all at once", async () => {
    const directory = join(folder, "kms");
    await createDirectory(directory, setup());
    const path = pathsOf(directory).configuration;
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace('"leaseSeconds": 300', '"leaseSeconds": 0').replace('"prod"', '"Prod"'));
    assert.throws(() => openDirectory(directory), {
      code: "CONFIG_INVALID",
      message: /\.cluster.*\.leaseSeconds/,
    });
  });
});

function setup(changes: object = {}) {
  createOperatorKey(join(folder, "operator.key"), join(folder, "operator.pub"));
  const operatorKeys = [readFileSync(join(folder, "operator.pub"))];
  return { cluster: "prod", endpoints: ["kms:7443"], operatorKeys, ...changes };
}
