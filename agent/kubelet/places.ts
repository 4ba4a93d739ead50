/** Where everything of Kubernetes is: on /var, the sealed disk, what must last; on /run, in memory, what is made anew. */

export const CONTAINERD = "containerd.service";
export const KUBELET = "kubelet.service";

export const PLACES = {
  stateDisk: "/var",
  /** Configuration, written at each boot. */
  configuration: "/run/sealet/kubernetes",
  containerdSocket: "/run/containerd/containerd.sock",
  /** Private keys of the node's certificates. */
  keys: "/var/lib/sealet/pki",
  kubelet: "/var/lib/kubelet",
  containerd: "/var/lib/containerd",
  containerdState: "/run/containerd",
  cniPrograms: "/usr/lib/cni",
  /** Addresses in use: a boot begins without pods, so none is. */
  cniState: "/run/sealet/cni",
  /** In OCI's image layout. */
  pauseImage: "/usr/share/sealet/images/pause",
  cgroups: "/sys/fs/cgroup",
} as const;

export const PAUSE_IMAGE = "sealet.local/pause:1";

export const FILES = {
  kubelet: `${PLACES.configuration}/kubelet.json`,
  kubeconfig: `${PLACES.configuration}/kubeconfig`,
  environment: `${PLACES.configuration}/kubelet.env`,
  /** The digest of what kubelet read when it started. */
  kubeletStartedWith: `${PLACES.configuration}/kubelet.started-with`,
  containerd: `${PLACES.configuration}/containerd.toml`,
  cni: `${PLACES.configuration}/cni/10-sealet.conflist`,
  clusterCa: `${PLACES.configuration}/ca.pem`,
  clientCertificate: `${PLACES.configuration}/client.pem`,
  clientKey: `${PLACES.keys}/client.key`,
  servingCertificate: `${PLACES.configuration}/serving.pem`,
  servingKey: `${PLACES.keys}/serving.key`,
} as const;
