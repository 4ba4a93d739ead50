import assert from "node:assert/strict";
import { parse } from "smol-toml";
import {
  cniConfiguration,
  containerdConfiguration,
  kubeconfig,
  kubeletConfiguration,
  kubeletEnvironment,
  parseClusterSettings,
} from "../../agent/kubelet/configuration.ts";
import { apiUrl } from "../../agent/kubelet/kubernetes.ts";

describe("kubelet's configuration", () => {
  it("takes of the cluster what it may say", () => {
    const settings = parseClusterSettings(
      '{"clusterDNS":["10.96.0.10"],"clusterDomain":"cluster.local","maxPods":50}',
    );
    const configuration: Record<string, unknown> = JSON.parse(
      kubeletConfiguration(settings, "/etc/resolv.conf"),
    );
    assert.deepEqual(configuration["clusterDNS"], ["10.96.0.10"]);
    assert.equal(configuration["maxPods"], 50);
    assert.deepEqual(parseClusterSettings(""), {});
  });

  it("refuses everything else, and every problem at once", () => {
    for (const key of [
      "authentication",
      "authorization",
      "readOnlyPort",
      "staticPodPath",
      "tlsCertFile",
      "featureGates",
    ]) {
      assert.throws(
        () => parseClusterSettings(JSON.stringify({ [key]: {} })),
        { code: "CONFIG_INVALID" },
        key,
      );
    }
    const bad = {
      clusterDNS: ["dns.example"],
      maxPods: 0,
      clusterDomain: "-",
      evictionHard: { "memory.available": "lots" },
    };
    assert.throws(() => parseClusterSettings(JSON.stringify(bad)), {
      code: "CONFIG_INVALID",
      message: /clusterDNS\.0: .*clusterDomain: .*maxPods: .*evictionHard\.memory\.available: not a quantity/,
    });
    assert.throws(() => parseClusterSettings("{"), { code: "CONFIG_INVALID" });
  });

  it("lets nobody in without a certificate, and nobody do more than the API server allows", () => {
    const configuration: Record<string, unknown> = JSON.parse(kubeletConfiguration({}, "/etc/resolv.conf"));
    const { authentication, authorization, readOnlyPort, tlsMinVersion, protectKernelDefaults } =
      configuration;
    const { seccompDefault, rotateCertificates, serverTLSBootstrap, healthzBindAddress } = configuration;
    assert.deepEqual(
      { seccompDefault, rotateCertificates, serverTLSBootstrap, healthzBindAddress },
      {
        seccompDefault: true,
        rotateCertificates: false,
        serverTLSBootstrap: false,
        healthzBindAddress: "127.0.0.1",
      },
    );
    assert.deepEqual(
      { authentication, authorization, readOnlyPort, tlsMinVersion, protectKernelDefaults },
      {
        authentication: {
          anonymous: { enabled: false },
          webhook: { enabled: true },
          x509: { clientCAFile: "/run/sealet/kubernetes/ca.pem" },
        },
        authorization: { mode: "Webhook" },
        readOnlyPort: 0,
        tlsMinVersion: "VersionTLS13",
        protectKernelDefaults: true,
      },
    );
  });

  it("has the private keys on the state disk and everything else in memory", () => {
    const text = kubeconfig("https://10.0.0.1:6443") + kubeletConfiguration({}, "/etc/resolv.conf");
    const keys = [...text.matchAll(/"([^"]*\.key)"/g)].map(([, path]) => path);
    assert.deepEqual(keys, ["/var/lib/sealet/pki/client.key", "/var/lib/sealet/pki/serving.key"]);
    assert.equal(kubeletEnvironment("worker-1"), "NODE_NAME=worker-1\n");
  });

  it("wants an https address of the API server", () => {
    assert.equal(apiUrl("10.0.0.1:6443"), "https://10.0.0.1:6443");
    assert.equal(apiUrl("https://api.example:6443/"), "https://api.example:6443");
    for (const server of ["http://10.0.0.1:6443", "unix:///run/api", "https://", ""]) {
      assert.throws(() => apiUrl(server), { code: "CONFIG_INVALID" }, server);
    }
  });
});

describe("containerd's and CNI's configuration", () => {
  it("is TOML of version 4, with the pause image pinned and systemd's control groups", () => {
    const configuration = parse(containerdConfiguration());
    assert.equal(configuration["version"], 4);
    assert.deepEqual(configuration["imports"], []);
    const text = JSON.stringify(configuration);
    assert.match(text, /"pinned_images":\{"sandbox":"sealet\.local\/pause:1"\}/);
    assert.match(text, /"SystemdCgroup":true/);
  });

  it("gives pods addresses of the node's range, IPv4 or IPv6", () => {
    assert.match(cniConfiguration("10.244.1.0/24"), /"dst": "0\.0\.0\.0\/0"/);
    assert.match(cniConfiguration("fd00:1::/64"), /"dst": "::\/0"/);
    for (const range of ["", "10.244.1.0", "10.244.1.0/33", '10.0.0.0/8"', "pods"]) {
      assert.throws(() => cniConfiguration(range), { code: "CONFIG_INVALID" }, range);
    }
  });
});
