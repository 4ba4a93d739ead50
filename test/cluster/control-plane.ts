/**
 * A Kubernetes control plane on this machine: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, as
 * processes. Ready in a few seconds; everything it writes is in one folder.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { promisify } from "node:util";
import { compiled } from "../../image/kubernetes.ts";
import { type Authority, certificateAuthority, serviceAccountKey } from "./certificates.ts";
import { freePort, type Server, startServer, until } from "./process.ts";

export interface ControlPlaneOptions {
  readonly folder: string;
  readonly cluster: string;
  /** Where the API server listens. */
  readonly bind: string;
  /** The addresses under which nodes reach this machine. */
  readonly addresses: readonly string[];
}

export interface ControlPlane {
  /** With the certificates, as `<name>.crt` and `<name>.key`. */
  readonly folder: string;
  readonly port: number;
  readonly authority: Authority;
  /** For people: `kubectl --kubeconfig`. */
  readonly kubeconfig: string;
  /** The program kubectl. */
  readonly program: string;
  readonly kubectl: (...args: readonly string[]) => Promise<string>;
  /** Where the API server finds a node's kubelet, by the node's name. */
  readonly locate: (node: string, address: string) => void;
  readonly servers: readonly Server[];
}

const SERVICES = "10.96.0.0/16";

export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { folder, addresses, bind } = options;
  const programs = { kubernetes: await compiled("kubernetes"), etcd: await compiled("etcd") };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const at = (name: string) => join(folder, name);
  const authority = await certificateAuthority(folder, options.cluster);
  const masters = "system:masters";
  authority.issue("admin", { CN: "kubernetes-admin", O: masters });
  authority.issue("apiserver-kubelet", { CN: "kube-apiserver-kubelet-client", O: masters });
  authority.issue("kube-controller-manager", { CN: "system:kube-controller-manager" });
  authority.issue("kube-scheduler", { CN: "system:kube-scheduler" });
  const names = ["localhost", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1", ...addresses];
  authority.issue("apiserver", { CN: "kube-apiserver" }, names);
  serviceAccountKey(folder);
  const [port, etcdPort, etcdPeer, managerPort, schedulerPort] = await ports();
  const url = `https://127.0.0.1:${port}`;
  for (const name of ["admin", "kube-controller-manager", "kube-scheduler"]) kubeconfig(folder, name, url);
  const log = (name: string) => ({ log: at(`${name}.log`) });
  const kube = (name: string) => join(programs.kubernetes, name);

  const etcd = startServer(
    "etcd",
    [
      join(programs.etcd, "etcd"),
      `--data-dir=${at("etcd")}`,
      `--listen-client-urls=http://127.0.0.1:${etcdPort}`,
      `--advertise-client-urls=http://127.0.0.1:${etcdPort}`,
      `--listen-peer-urls=http://127.0.0.1:${etcdPeer}`,
      // a cluster for tests: it need not outlive a power failure
      "--unsafe-no-fsync",
      "--log-level=warn",
    ],
    log("etcd"),
  );
  writeFileSync(at("hosts"), "127.0.0.1 localhost\n");
  const apiServer = startServer(
    "kube-apiserver",
    [
      // with names of its own for the nodes
      ...([
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /etc/hosts && exec "$@"',
        at("hosts"),
      ] as const),
      kube("kube-apiserver"),
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      `--bind-address=${bind}`,
      `--advertise-address=${addresses[0] ?? "127.0.0.1"}`,
      `--secure-port=${port}`,
      `--tls-cert-file=${at("apiserver.crt")}`,
      `--tls-private-key-file=${at("apiserver.key")}`,
      `--client-ca-file=${at("ca.crt")}`,
      `--kubelet-certificate-authority=${at("ca.crt")}`,
      `--kubelet-client-certificate=${at("apiserver-kubelet.crt")}`,
      `--kubelet-client-key=${at("apiserver-kubelet.key")}`,
      "--kubelet-preferred-address-types=Hostname,InternalIP",
      `--service-account-key-file=${at("service-account.pub")}`,
      `--service-account-signing-key-file=${at("service-account.key")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-cluster-ip-range=${SERVICES}`,
      "--authorization-mode=Node,RBAC",
      "--enable-admission-plugins=NodeRestriction",
      "--profiling=false",
    ],
    log("kube-apiserver"),
  );
  await until(apiServer, () => ready(port, folder), 60);
  const client = (name: string) => [
    `--kubeconfig=${at(`${name}.conf`)}`,
    "--leader-elect=false",
    "--profiling=false",
  ];
  const manager = startServer(
    "kube-controller-manager",
    [
      kube("kube-controller-manager"),
      ...client("kube-controller-manager"),
      "--bind-address=127.0.0.1",
      `--secure-port=${managerPort}`,
      `--root-ca-file=${at("ca.crt")}`,
      `--service-account-private-key-file=${at("service-account.key")}`,
      "--use-service-account-credentials=true",
    ],
    log("kube-controller-manager"),
  );
  const scheduler = startServer(
    "kube-scheduler",
    [
      kube("kube-scheduler"),
      ...client("kube-scheduler"),
      "--bind-address=127.0.0.1",
      `--secure-port=${schedulerPort}`,
    ],
    log("kube-scheduler"),
  );
  const run = promisify(execFile);
  const nodes = new Map<string, string>();
  return {
    folder,
    port,
    authority,
    kubeconfig: at("admin.conf"),
    program: kube("kubectl"),
    kubectl: async (...args) => {
      const env = { PATH: "/usr/bin:/bin", HOME: folder, KUBECONFIG: at("admin.conf") };
      const { stdout } = await run(kube("kubectl"), [...args], { env, maxBuffer: 1 << 26, timeout: 120_000 });
      return stdout;
    },
    locate: (node, address) => {
      nodes.set(node, address);
      const lines = [...nodes].map(([name, ip]) => `${ip} ${name}\n`);
      writeFileSync(at("hosts"), `127.0.0.1 localhost\n${lines.join("")}`);
    },
    servers: [scheduler, manager, apiServer, etcd],
  };
}

async function ports(): Promise<[number, number, number, number, number]> {
  return [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()];
}

function kubeconfig(folder: string, user: string, server: string): void {
  const base64 = (name: string) => readFileSync(join(folder, name)).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "sealet", cluster: { server, "certificate-authority-data": base64("ca.crt") } }],
    users: [
      {
        name: user,
        user: {
          "client-certificate-data": base64(`${user}.crt`),
          "client-key-data": base64(`${user}.key`),
        },
      },
    ],
    contexts: [{ name: "sealet", context: { cluster: "sealet", user } }],
    "current-context": "sealet",
  };
  writeFileSync(join(folder, `${user}.conf`), JSON.stringify(config, undefined, 2), { mode: 0o600 });
}

async function ready(port: number, folder: string): Promise<boolean> {
  const file = (name: string) => readFileSync(join(folder, name));
  return new Promise((resolve, reject) => {
    const tls = { ca: file("ca.crt"), cert: file("admin.crt"), key: file("admin.key") };
    request({ host: "127.0.0.1", port, path: "/readyz", agent: false, timeout: 2000, ...tls }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    })
      .once("error", reject)
      .end();
  });
}
