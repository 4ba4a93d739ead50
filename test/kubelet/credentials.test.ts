import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EnrolResponse } from "../../agent/api/gen/sealet.ts";
import { createCa, openCa } from "../../agent/kms/enrolment-ca.ts";
import { writeAtomically } from "../../agent/atomic-file.ts";
import {
  certificateRequests,
  checkEnrolment,
  isFresh,
  leadsOut,
  openKeys,
  validity,
} from "../../agent/kubelet/credentials.ts";
import { OTHER_CAS } from "../kms/other-cas.ts";
import { syncsOf } from "../syncs.ts";

describe("the node's credentials", () => {
  let folder: string;
  let files: { clientKey: string; servingKey: string };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-pki-"));
    files = { clientKey: join(folder, "pki/client.key"), servingKey: join(folder, "pki/serving.key") };
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const enrol = async (
    node = "worker-1",
    ca = createCa("prod"),
    addresses = ["10.0.0.5"],
  ): Promise<EnrolResponse> => {
    const made = await ca;
    const authority = openCa(made.certificate, made.privateKey, 86_400_000);
    const signed = await authority.sign(
      node,
      certificateRequests(openKeys(files), node, addresses),
      Date.now(),
    );
    return {
      clientCertificate: signed.client,
      servingCertificate: signed.serving,
      clusterCa: authority.certificate,
      apiServers: ["10.0.0.1:6443"],
      nodeName: node,
      role: "worker",
      kubeletConfiguration: "",
      podCidr: "",
    };
  };

  for (const [how, made] of Object.entries(OTHER_CAS))
    it(`are signed by a cluster's CA ${how}, and taken`, async () => {
      const ca = { certificate: Buffer.from(made.certificate), privateKey: Buffer.from(made.privateKey) };
      const answer = await enrol("worker-1", Promise.resolve(ca));
      checkEnrolment(answer, openKeys(files), "worker-1");
    });

  it("name a machine's own links: devices, and VLANs, bonds and bridges on them; not pods' and services'", () => {
    const links = join(folder, "net");
    for (const entry of [
      "eth0/device",
      "eth0.7/lower_eth0",
      "bond0/lower_eth0.7",
      "veth1/queues",
      "cni0/lower_veth1",
      "dummy0/queues",
    ])
      mkdirSync(join(links, entry), { recursive: true });
    const names = [...readdirSync(links), "gone"];
    assert.deepEqual(
      names.filter((link) => leadsOut(link, links)),
      ["bond0", "eth0", "eth0.7"],
    );
  });

  it("are made once and stay, root's alone", () => {
    const first = openKeys(files);
    const second = openKeys(files);
    assert.equal(first.client.equals(second.client), true);
    assert.equal(first.client.equals(first.serving), false);
    assert.equal(statSync(files.clientKey).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, "pki")).mode & 0o777, 0o700);
  });

  it("are made anew where a power cut left half a key", () => {
    const first = openKeys(files);
    truncateSync(files.clientKey, 40);
    const second = openKeys(files);
    assert.equal(first.client.equals(second.client), false);
    assert.equal(first.serving.equals(second.serving), true);
    assert.equal(second.client.equals(openKeys(files).client), true);
  });

  it("are taken when they are for this node's keys and name, under the cluster's CA", async () => {
    const answer = await enrol();
    checkEnrolment(answer, openKeys(files), "worker-1");
    assert.ok(validity(answer.clientCertificate).to > Date.now());
  });

  it("do until two thirds of their life, and not before it", async () => {
    const answer = await enrol();
    const { from, to } = validity(answer.clientCertificate);
    const third = (to - from) / 3;
    assert.equal(isFresh(answer, from, []), true);
    assert.equal(isFresh(answer, to - third - 1000, []), true);
    assert.equal(isFresh(answer, to - third + 1000, []), false);
    assert.equal(isFresh(answer, from - 1000, []), false);
    assert.equal(isFresh({ ...answer, clientCertificate: Buffer.from("cut") }, from, []), false);
  });

  it("do as long as they name the addresses that the machine has", async () => {
    const answer = await enrol("worker-1", createCa("prod"), ["10.0.0.5", "2001:db8::5"]);
    const now = Date.now();
    assert.equal(isFresh(answer, now, ["10.0.0.5", "2001:db8:0:0::5"]), true);
    assert.equal(isFresh(answer, now, ["2001:db8::5"]), true, "an address that went away needs nothing");
    assert.equal(isFresh(answer, now, ["10.0.0.6"]), false);
    assert.equal(isFresh(answer, now, ["10.0.0.5", "2001:db8::6"]), false);
  });

  it("are refused otherwise, and the reason is told", async () => {
    const made = createCa("prod");
    const answer = await enrol("worker-1", made);
    const keys = openKeys(files);
    const another = await enrol("worker-2");
    const stranger = await enrol();
    const wrong: [Partial<EnrolResponse>, RegExp][] = [
      [{ nodeName: "worker-2" }, /the node's name/],
      [{ clientCertificate: another.clientCertificate }, /the client certificate/],
      [{ servingCertificate: stranger.servingCertificate }, /the serving certificate/],
      [{ clusterCa: stranger.clusterCa }, /the client certificate/],
      [{ clusterCa: answer.clientCertificate }, /CA certificate/],
      [{ clientCertificate: Buffer.from("junk") }, /cannot be read/],
      [{ servingCertificate: Buffer.alloc(0) }, /cannot be read/],
    ];
    for (const [change, message] of wrong) {
      assert.throws(() => checkEnrolment({ ...answer, ...change }, keys, "worker-1"), {
        code: "ENROL_REFUSED",
        message,
      });
    }
    const renamed = await enrol("worker-2", made);
    const unsigned = Buffer.from(answer.clientCertificate);
    unsigned.writeUInt8(unsigned.readUInt8(unsigned.length - 5) ^ 1, unsigned.length - 5);
    for (const [change, found] of [
      [{ clientCertificate: renamed.clientCertificate }, "O=system:nodes, CN=system:node:worker-2"],
      [{ servingCertificate: renamed.servingCertificate }, "O=system:nodes, CN=system:node:worker-2"],
      [{ clientCertificate: unsigned }, "one that is not"],
    ] as const) {
      assert.throws(() => checkEnrolment({ ...answer, ...change }, keys, "worker-1"), {
        code: "ENROL_REFUSED",
        found,
      });
    }
    rmSync(files.servingKey);
    assert.throws(() => checkEnrolment(answer, openKeys(files), "worker-1"), { code: "ENROL_REFUSED" });
  });
});

describe("a file that is written atomically", () => {
  it("I10 is on the disk before it has its name, and its name before the call returns", () => {
    const folder = mkdtempSync(join(tmpdir(), "sealet-file-"));
    const path = join(folder, "a/b");
    const contents = Buffer.alloc(1 << 20, 7);
    assert.deepEqual(
      syncsOf(() => writeAtomically(path, contents)),
      ["file", "rename", "folder"],
    );
    assert.deepEqual(readFileSync(path), contents);
    rmSync(folder, { recursive: true });
  });

  it("is left alone where it has the bytes already", () => {
    const folder = mkdtempSync(join(tmpdir(), "sealet-file-"));
    const path = join(folder, "a/b");
    assert.equal(writeAtomically(path, "one"), true);
    const { ino } = statSync(path);
    assert.equal(writeAtomically(path, "one"), false);
    assert.equal(statSync(path).ino, ino);
    writeFileSync(`${path}.next`, "cut of");
    assert.equal(writeAtomically(path, "two"), true);
    assert.equal(readFileSync(path, "utf8"), "two");
    rmSync(folder, { recursive: true });
  });
});
