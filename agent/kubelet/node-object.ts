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

export function nodePatch({ tee, measurement, evidenceSha256, attestedUnixMs }: NodeFacts): string {
  return JSON.stringify({
    metadata: {
      labels: { "sealet.dev/tee": tee },
      annotations: {
        "sealet.dev/measurement": measurement,
        "sealet.dev/evidence-sha256": evidenceSha256,
        "sealet.dev/verdict-time": new Date(attestedUnixMs).toISOString(),
      },
    },
  });
}

/** @throws KUBELET_UNHEALTHY where the API server can't be asked, or has no such node yet */
export function patchNode(
  api: KubernetesApi,
  node: string,
  patch: string,
  signal: AbortSignal,
): Promise<void> {
  const url = new URL(`/api/v1/nodes/${encodeURIComponent(node)}`, api.server);
  const options = {
    method: "PATCH",
    ca: api.ca,
    cert: api.certificate,
    key: api.key,
    minVersion: "TLSv1.3",
    agent: false,
    signal,
    headers: { "content-type": "application/merge-patch+json", "content-length": Buffer.byteLength(patch) },
  } as const;
  return new Promise((resolve, reject) => {
    const fail = (message: string, cause?: unknown) =>
      reject(new SealetError("KUBELET_UNHEALTHY", `${url.host}: ${message}`, { cause }));
    const call = request(url, options, (response) => {
      response.resume();
      response.once("end", () => {
        if (response.statusCode === 200) resolve();
        else fail(`the patch of node ${node} was answered with ${response.statusCode}`);
      });
      response.once("error", (error) => fail(error.message, error));
    });
    call.once("error", (error) => fail(error.message, error));
    call.end(patch);
  });
}
