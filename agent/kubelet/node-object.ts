/**
 * Tells the cluster what this node is, on its own Node object and with kubelet's own credential: a label for
 * schedulers, annotations for people. It is the node's own word; proof is what the KMS and `sealet verify` give.
 * @see NodeRestriction: a node may patch itself, but not labels of kubernetes.io other than the listed ones
 */
import { request } from "node:https";
import { SealetError } from "../error.ts";

export interface NodeFacts {
  readonly tee: string;
  /** Hex; undefined: not known here, what was told before stays. */
  readonly measurement: string | undefined;
  readonly evidenceSha256: string;
  readonly attestedUnixMs: number;
}

export interface KubernetesApi {
  /** "https://host:port" */
  readonly server: string;
  /** PEM. */
  readonly ca: Buffer;
  readonly certificate: Buffer;
  readonly key: Buffer;
}

/**
 * Makes the object where kubelet has not yet: then the node has its label from its first moment on.
 * @throws KUBELET_UNHEALTHY where the API server can't be asked, or refuses
 */
export async function tellNode(
  api: KubernetesApi,
  node: string,
  { tee, measurement, evidenceSha256, attestedUnixMs }: NodeFacts,
  signal: AbortSignal,
): Promise<void> {
  const metadata = {
    labels: { "sealet.dev/tee": tee },
    annotations: {
      "sealet.dev/measurement": measurement,
      "sealet.dev/evidence-sha256": evidenceSha256,
      "sealet.dev/verdict-time": new Date(attestedUnixMs).toISOString(),
    },
  };
  const path = `${NODES}/${encodeURIComponent(node)}`;
  const patched = await send(api, { method: "PATCH", path, type: MERGE, body: { metadata } }, signal);
  if (patched === 200) return;
  if (patched !== 404) throw unhealthy(api, `the patch of node ${node} was answered with ${patched}`);
  const body = { apiVersion: "v1", kind: "Node", metadata: { name: node, ...metadata }, status: STARTING };
  const made = await send(api, { method: "POST", path: NODES, type: "application/json", body }, signal);
  if (made !== 201) throw unhealthy(api, `making node ${node} was answered with ${made}`);
}

const NODES = "/api/v1/nodes";
const MERGE = "application/merge-patch+json";

/** Until kubelet reports. Without a condition "Ready" it complains of that ten times a second while it starts. */
const STARTING = {
  conditions: [
    { type: "Ready", status: "False", reason: "KubeletStarting", message: "kubelet has not reported yet" },
  ],
};

interface Sent {
  readonly method: "PATCH" | "POST";
  readonly path: string;
  readonly type: string;
  readonly body: object;
}

function unhealthy({ server }: KubernetesApi, message: string, cause?: unknown): SealetError {
  return new SealetError("KUBELET_UNHEALTHY", `${new URL(server).host}: ${message}`, { cause });
}

/** @returns the answer's status */
function send(api: KubernetesApi, { method, path, type, body }: Sent, signal: AbortSignal): Promise<number> {
  const text = JSON.stringify(body);
  const options = {
    method,
    ca: api.ca,
    cert: api.certificate,
    key: api.key,
    minVersion: "TLSv1.3",
    agent: false,
    signal,
    headers: { "content-type": type, "content-length": Buffer.byteLength(text) },
  } as const;
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(unhealthy(api, error.message, error));
    const call = request(new URL(path, api.server), options, (response) => {
      response.resume();
      response.once("end", () => resolve(response.statusCode ?? 0));
      response.once("error", fail);
    });
    call.once("error", fail);
    call.end(text);
  });
}
