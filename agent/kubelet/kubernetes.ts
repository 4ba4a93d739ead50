/**
 * containerd and kubelet of this node: configured, started and stopped. Nothing else starts them: their units are wanted
 * by no target.
 */
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { EnrolResponse } from "../api/gen/sealet.ts";
import { readAhead } from "../../native/read-ahead.ts";
import { pem } from "../crypto/pem.ts";
import { SealetError } from "../error.ts";
import { readIfThere, writeAtomically } from "../atomic-file.ts";
import {
  cniConfiguration,
  containerdConfiguration,
  kubeconfig,
  kubeletConfiguration,
  kubeletEnvironment,
  parseClusterSettings,
} from "./configuration.ts";
import { seedImage } from "./containerd/images.ts";
import { untilHealthy } from "./health.ts";
import { CONTAINERD, FILES, KUBELET, PAUSE_IMAGE, PLACES } from "./places.ts";
import { killPods } from "./pods.ts";
import type { Services } from "./systemd.ts";

/** Folders that a new state disk does not have: on the image /var is a tmpfs that systemd-tmpfiles filled. */
const FOLDERS = [
  ["/var/lib", 0o755],
  ["/var/log", 0o755],
  ["/var/log/pods", 0o755],
  ["/var/log/containers", 0o755],
  ["/var/cache", 0o755],
  ["/var/tmp", 0o1777],
  [PLACES.kubelet, 0o700],
  [PLACES.containerd, 0o700],
  [PLACES.cniState, 0o700],
] as const;

/** With these modes whatever the agent's umask, which its unit sets to 0077. @param root of the node's files */
export function makeFolders(root = "/"): void {
  for (const [folder, mode] of FOLDERS) {
    const path = join(root, folder);
    mkdirSync(path, { recursive: true, mode });
    chmodSync(path, mode);
  }
}

/** systemd-resolved's own list of servers, where it runs: the stub at 127.0.0.53 is not reachable from a pod. */
const RESOLV_CONF = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/** kubelet reads these again by itself. @returns whether one of them is new */
export function writeCertificates({ clientCertificate, servingCertificate }: EnrolResponse): boolean {
  return [
    writeAtomically(FILES.clientCertificate, pem("CERTIFICATE", clientCertificate)),
    writeAtomically(FILES.servingCertificate, pem("CERTIFICATE", servingCertificate)),
  ].includes(true);
}

/** @returns a digest of what kubelet reads only when it starts */
export function writeConfiguration(enrolment: EnrolResponse): string {
  const [server] = enrolment.apiServers;
  if (server === undefined) throw new SealetError("CONFIG_INVALID", "The KMS named no Kubernetes API server");
  const resolvConf = RESOLV_CONF.find((path) => existsSync(path)) ?? "";
  const settings = parseClusterSettings(enrolment.kubeletConfiguration);
  writeCertificates(enrolment);
  if (enrolment.podCidr !== "") writeAtomically(FILES.cni, cniConfiguration(enrolment.podCidr));
  writeAtomically(FILES.containerd, containerdConfiguration());
  const digest = createHash("sha256");
  for (const [path, contents] of [
    [FILES.clusterCa, pem("CERTIFICATE", enrolment.clusterCa)],
    [FILES.kubelet, kubeletConfiguration(settings, resolvConf)],
    [FILES.kubeconfig, kubeconfig(apiUrl(server))],
    [FILES.environment, kubeletEnvironment(enrolment.nodeName)],
  ] as const) {
    writeAtomically(path, contents);
    digest.update(contents);
  }
  return digest.digest("hex");
}

/** "host:port" and "https://host:port" are the same to an operator. */
export function apiUrl(server: string): string {
  const url = URL.parse(server.includes("://") ? server : `https://${server}`);
  if (url?.protocol !== "https:") {
    throw new SealetError("CONFIG_INVALID", "The Kubernetes API server has no https address", {
      found: server,
    });
  }
  return url.origin;
}

/** While the keys are asked for, a processor is free: what runs after them comes from the root meanwhile. A hint. */
export async function readKubernetesAhead(): Promise<void> {
  for (const program of ["containerd", "kubelet"]) await readAhead(`/usr/bin/${program}`);
}

/** @returns for people, what was done */
export async function startKubernetes(
  enrolment: EnrolResponse,
  services: Services,
  signal: AbortSignal,
): Promise<string> {
  makeFolders();
  const configured = writeConfiguration(enrolment);
  const containerd = services.start(CONTAINERD, signal);
  // Ordered by systemd: kubelet's unit wants containerd's, and comes after it. One that an earlier agent of this boot
  // started goes on, and its pods with it, unless it has to read anew.
  const runsWithIt = readIfThere(FILES.kubeletStartedWith)?.toString() === configured;
  const kubelet = (runsWithIt ? services.start(KUBELET, signal) : services.restart(KUBELET, signal)).then(
    () => writeAtomically(FILES.kubeletStartedWith, configured),
  );
  // No pod needs the image before kubelet is up.
  const image = containerd.then(() =>
    seedImage(PAUSE_IMAGE, PLACES.pauseImage, PLACES.containerdSocket, signal),
  );
  await Promise.all([containerd, kubelet, image]);
  await untilHealthy(signal);
  return "containerd runs, kubelet is healthy";
}

/** Whatever of it runs; pods that do not end are killed. @throws SERVICE_FAILED */
export async function stopKubernetes(services: Services, signal: AbortSignal): Promise<void> {
  try {
    await services.stop([KUBELET, CONTAINERD], signal);
  } finally {
    await killPods();
  }
}
