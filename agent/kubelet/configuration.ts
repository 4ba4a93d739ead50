/**
 * The configuration of kubelet, containerd and CNI, as text. What is about security is fixed here; of the cluster's own
 * settings only those named below are taken, whoever sends others.
 * @see KubeletConfiguration v1beta1 (kubernetes.io/docs/reference/config-api), containerd's configuration version 4
 */
import { stringify } from "smol-toml";
import { z } from "zod";
import { SealetError } from "../error.ts";
import { FILES, PAUSE_IMAGE, PLACES } from "./places.ts";

const address = z.union([z.ipv4(), z.ipv6()]);
const quantity = z.string().regex(/^[0-9]+(\.[0-9]+)?(%|[kMGT]i?|m)?$/, "not a quantity");

/** What a cluster may say of its nodes' kubelets. */
const clusterSettings = z.strictObject({
  clusterDNS: z.array(address).max(3).optional(),
  clusterDomain: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, "not a domain")
    .optional(),
  maxPods: z.int().min(1).max(1000).optional(),
  podPidsLimit: z.int().min(1).optional(),
  evictionHard: z.record(z.string().max(64), quantity).optional(),
  systemReserved: z.record(z.string().max(64), quantity).optional(),
  kubeReserved: z.record(z.string().max(64), quantity).optional(),
});

export type ClusterSettings = z.infer<typeof clusterSettings>;

/** @param json from the KMS; empty: nothing is set @throws CONFIG_INVALID with every problem */
export function parseClusterSettings(json: string): ClusterSettings {
  const parsed = clusterSettings.safeParse(json === "" ? {} : parseJson(json));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "it"}: ${message}`);
  throw new SealetError("CONFIG_INVALID", `The cluster's kubelet configuration: ${problems.join("; ")}`);
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", "The cluster's kubelet configuration is not JSON", { cause });
  }
}

export function kubeletConfiguration(settings: ClusterSettings, resolvConf: string): string {
  const configuration = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    podPidsLimit: 4096,
    ...settings,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: FILES.clusterCa },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: FILES.servingCertificate,
    tlsPrivateKeyFile: FILES.servingKey,
    tlsMinVersion: "VersionTLS13",
    // The agent renews: by enrolment at the KMS, not by a request to the cluster.
    rotateCertificates: false,
    serverTLSBootstrap: false,
    readOnlyPort: 0,
    healthzBindAddress: "127.0.0.1",
    healthzPort: HEALTH_PORT,
    cgroupDriver: "systemd",
    containerRuntimeEndpoint: `unix://${PLACES.containerdSocket}`,
    volumePluginDir: `${PLACES.kubelet}/volume-plugins`,
    resolvConf,
    seccompDefault: true,
    // A pod that asks for other kernel settings than the image's is refused, not obeyed.
    protectKernelDefaults: true,
    // iptables is not in the image.
    makeIPTablesUtilChains: false,
  };
  return document(configuration);
}

export const HEALTH_PORT = 10248;

/** @param server "https://host:port" of the Kubernetes API */
export function kubeconfig(server: string): string {
  const name = "sealet";
  return document({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, "certificate-authority": FILES.clusterCa } }],
    users: [{ name, user: { "client-certificate": FILES.clientCertificate, "client-key": FILES.clientKey } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  });
}

/** For the unit: systemd reads it before it starts kubelet. */
export function kubeletEnvironment(node: string): string {
  return `NODE_NAME=${node}\n`;
}

export function containerdConfiguration(): string {
  const runc = {
    runtime_type: "io.containerd.runc.v2",
    options: { BinaryName: "/usr/bin/runc", SystemdCgroup: true },
  };
  return stringify({
    version: 4,
    root: PLACES.containerd,
    state: PLACES.containerdState,
    imports: [],
    // What the node has no use for is not loaded: less to start, less to attack.
    disabled_plugins: [
      "io.containerd.nri.v1.nri",
      "io.containerd.image-verifier.v1.bindir",
      "io.containerd.internal.v1.opt",
      "io.containerd.internal.v1.tracing",
      "io.containerd.tracing.processor.v1.otlp",
      "io.containerd.monitor.container.v1.restart",
      "io.containerd.snapshotter.v1.blockfile",
      "io.containerd.snapshotter.v1.erofs",
      "io.containerd.differ.v1.erofs",
      "io.containerd.mount-handler.v1.erofs",
      "io.containerd.snapshotter.v1.native",
    ],
    stream_processors: {},
    plugins: {
      "io.containerd.cri.v1.images": { pinned_images: { sandbox: PAUSE_IMAGE } },
      "io.containerd.cri.v1.runtime": {
        containerd: { default_runtime_name: "runc", runtimes: { runc } },
        // Pods' network namespaces are mounts: by default in /var/run, which on the state disk would keep it busy.
        netns_mounts_under_state_dir: true,
        cni: { bin_dirs: [PLACES.cniPrograms], conf_dir: `${PLACES.configuration}/cni` },
      },
      "io.containerd.server.v1.grpc": { address: PLACES.containerdSocket },
    },
  });
}

/** A point-to-point link for each pod and this node's range of addresses: needs neither a bridge nor a firewall. */
export function cniConfiguration(podCidr: string): string {
  const parsed = z.union([z.cidrv4(), z.cidrv6()]).safeParse(podCidr);
  if (!parsed.success)
    throw new SealetError("CONFIG_INVALID", "The node's range of pod addresses is not a CIDR", {
      found: podCidr,
    });
  const everywhere = podCidr.includes(":") ? "::/0" : "0.0.0.0/0";
  return document({
    cniVersion: "1.0.0",
    name: "sealet",
    plugins: [
      {
        type: "ptp",
        ipMasq: false,
        ipam: {
          type: "host-local",
          dataDir: PLACES.cniState,
          ranges: [[{ subnet: podCidr }]],
          routes: [{ dst: everywhere }],
        },
      },
    ],
  });
}

function document(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
