/** systemctl, kubelet's health and the API server, each as a program or server of the test's own. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import { type Server as HttpsServer, createServer as createHttpsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { untilHealthy } from "../../agent/kubelet/health.ts";
import { type KubernetesApi, tellNode } from "../../agent/kubelet/node-object.ts";
import { mountsBelow } from "../../agent/kubelet/pods.ts";
import { systemd } from "../../agent/kubelet/systemd.ts";
import { testCa } from "../api/test-ca.ts";

const never = new AbortController().signal;
const listening = (server: Server | HttpsServer) =>
  new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });

describe("systemd", () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), "sealet-programs-"))));
  after(() => rmSync(folder, { recursive: true }));
  const program = (script: string): string => {
    const path = join(folder, "program");
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o700);
    return path;
  };

  it("systemctl's words stand in the error", async () => {
    const services = systemd(program('echo "Job for $2 failed." >&2; exit 1'));
    await assert.rejects(services.start("kubelet.service", never), {
      code: "SERVICE_FAILED",
      message: "systemctl start kubelet.service: Job for kubelet.service failed.",
    });
  });

  it("a systemctl that can't be run is the service's failure", async () => {
    await assert.rejects(systemd("/nonexistent").restart("a.service", never), { code: "SERVICE_FAILED" });
    await assert.rejects(systemd(program("kill -9 $$")).stop(["a.service"], never), {
      code: "SERVICE_FAILED",
    });
  });

  it("a machine that goes down is told from one that only restarts the agent", async () => {
    assert.equal(await systemd(program("echo stopping; exit 1")).isGoingDown(never), true);
    for (const state of ["running", "degraded", "starting", "unknown"]) {
      assert.equal(await systemd(program(`echo ${state}`)).isGoingDown(never), false);
    }
  });
});

describe("kubelet's health", () => {
  it("is waited for, and what it last said is told when the time is over", async () => {
    let answer = 500;
    const server = createServer((_, response) => response.writeHead(answer).end("?"));
    const port = await listening(server);
    try {
      const late = AbortSignal.timeout(300);
      await assert.rejects(untilHealthy(late, port), { code: "KUBELET_UNHEALTHY", message: /HTTP 500/ });
      const healthy = untilHealthy(never, port);
      answer = 200;
      await healthy;
    } finally {
      server.close();
    }
    await assert.rejects(untilHealthy(AbortSignal.timeout(300), port), {
      code: "KUBELET_UNHEALTHY",
      message: /ECONNREFUSED/,
    });
  });
});

describe("the node's object", () => {
  const ca = testCa();
  const serving = ca.issue({ CN: "kube-apiserver" }, "serving");
  const client = ca.issue({ O: "system:nodes", CN: "system:node:worker-1" }, "client");
  const facts = { tee: "sev-snp", measurement: "ab", evidenceSha256: "cd", attestedUnixMs: 0 };
  const metadata =
    '"labels":{"sealet.dev/tee":"sev-snp"},"annotations":{"sealet.dev/measurement":"ab",' +
    '"sealet.dev/evidence-sha256":"cd","sealet.dev/verdict-time":"1970-01-01T00:00:00.000Z"}}';
  const NOT_READY =
    '"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletStarting","message":"kubelet has not reported yet"}]}';
  const PATCH = `PATCH /api/v1/nodes/worker-1 application/merge-patch+json {"metadata":{${metadata}}`;
  const POST = `POST /api/v1/nodes application/json {"apiVersion":"v1","kind":"Node","metadata":{"name":"worker-1",${metadata},${NOT_READY}}`;
  let server: HttpsServer;
  let api: KubernetesApi;
  let seen: string[];
  let answers: Readonly<Record<string, number>>;

  beforeEach(async () => {
    seen = [];
    const tls = { key: serving.privateKey, cert: serving.certificate, ca: ca.certificate, requestCert: true };
    server = createHttpsServer(tls, (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        seen.push([request.method, request.url, request.headers["content-type"], body].join(" "));
        response.writeHead(answers[request.method ?? ""] ?? 500).end("{}");
      });
    });
    api = {
      server: `https://127.0.0.1:${await listening(server)}`,
      ca: ca.certificate,
      certificate: client.certificate,
      key: client.privateKey,
    };
  });
  afterEach(() => server.close());

  it("is patched with kubelet's own certificate: one label, three annotations", async () => {
    answers = { PATCH: 200 };
    await tellNode(api, "worker-1", facts, never);
    assert.deepEqual(seen, [PATCH]);
  });

  it("is made with them before kubelet comes to it", async () => {
    answers = { PATCH: 404, POST: 201 };
    await tellNode(api, "worker-1", facts, never);
    assert.deepEqual(seen, [PATCH, POST]);
  });

  it("is not said to tell what the API server refused, or was not asked", async () => {
    for (const refused of [{ PATCH: 403 }, { PATCH: 404, POST: 409 }]) {
      answers = refused;
      const message = /127\.0\.0\.1:\d+: .*node worker-1 was answered with 4/u;
      await assert.rejects(tellNode(api, "worker-1", facts, never), { code: "KUBELET_UNHEALTHY", message });
    }
    const strangers = { ...api, ca: testCa().certificate };
    await assert.rejects(tellNode(strangers, "worker-1", facts, never), { code: "KUBELET_UNHEALTHY" });
    const late = AbortSignal.timeout(1);
    await assert.rejects(tellNode(api, "worker-1", facts, late), { code: "KUBELET_UNHEALTHY" });
  });
});

describe("mounts of pods", () => {
  it("are found below their folders, the innermost first, escapes undone", () => {
    const mountinfo = [
      "22 1 0:21 / / rw - erofs /dev/dm-0 ro",
      "30 22 254:3 / /var rw - ext4 /dev/dm-5 rw",
      "40 30 0:50 / /var/lib/kubelet/pods/a/volumes/token rw - tmpfs tmpfs rw",
      "41 40 0:51 / /var/lib/kubelet/pods/a/volumes/token/with\\040space rw - tmpfs tmpfs rw",
      "42 22 0:52 / /run/containerd/io.containerd.runtime.v2.task/k8s.io/b/rootfs rw - overlay overlay rw",
      "43 22 0:53 / /run/containerdx rw - tmpfs tmpfs rw",
      "44 30 0:4 net:[4026532126] /var/run/netns/cni-a rw - nsfs nsfs rw",
      "",
    ].join("\n");
    assert.deepEqual(mountsBelow(mountinfo, ["/run/containerd", "/var"]), [
      "/var/run/netns/cni-a",
      "/run/containerd/io.containerd.runtime.v2.task/k8s.io/b/rootfs",
      "/var/lib/kubelet/pods/a/volumes/token/with space",
      "/var/lib/kubelet/pods/a/volumes/token",
    ]);
  });
});
