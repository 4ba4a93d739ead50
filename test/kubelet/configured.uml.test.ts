/** The files of Kubernetes where a node has them: what is new, and what kubelet has to start anew for. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import type { EnrolResponse } from "../../agent/api/gen/sealet.ts";
import { writeCertificates, writeConfiguration } from "../../agent/kubelet/kubernetes.ts";
import { FILES, PLACES } from "../../agent/kubelet/places.ts";

const enrolment = (change: Partial<EnrolResponse> = {}): EnrolResponse => ({
  clientCertificate: Buffer.from("client"),
  servingCertificate: Buffer.from("serving"),
  clusterCa: Buffer.from("ca"),
  apiServers: ["https://10.0.0.1:6443"],
  nodeName: "worker-1",
  role: "worker",
  kubeletConfiguration: "",
  podCidr: "10.244.0.0/24",
  ...change,
});

describe("the files of Kubernetes", () => {
  beforeEach(() => rmSync(PLACES.configuration, { recursive: true, force: true }));

  it("certificates are new until they are written, also where a write failed", () => {
    mkdirSync(FILES.servingCertificate, { recursive: true });
    assert.throws(() => writeCertificates(enrolment()), { code: "EISDIR" });
    rmSync(FILES.servingCertificate, { recursive: true });
    assert.equal(writeCertificates(enrolment()), true);
    assert.equal(writeCertificates(enrolment()), false);
    assert.match(readFileSync(FILES.servingCertificate, "latin1"), /BEGIN CERTIFICATE/);
  });

  it("kubelet starts anew for settings, the CA, another name or API server, and for no certificate", () => {
    const before = writeConfiguration(enrolment());
    assert.equal(writeConfiguration(enrolment({ clientCertificate: Buffer.from("renewed") })), before);
    for (const change of [
      { kubeletConfiguration: '{"maxPods":20}' },
      { clusterCa: Buffer.from("another") },
      { nodeName: "worker-2" },
      { apiServers: ["https://10.0.0.2:6443"] },
    ])
      assert.notEqual(writeConfiguration(enrolment(change)), before);
  });
});
