/** The pod of demonstrations and tests (image/pod): its image is on the twin's disk, no registry has it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { POD_IMAGE } from "../../image/oci.ts";
import type { TestCluster } from "./cluster.ts";

/** Starts it on a node; it says "hello from pod NAME on node NODE" and counts its starts on the state disk. */
export async function startPod(cluster: TestCluster, name: string, node: string): Promise<void> {
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      nodeSelector: { "kubernetes.io/hostname": node },
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 2,
      containers: [
        {
          name: "hello",
          image: POD_IMAGE,
          imagePullPolicy: "Never",
          args: ["/data/starts"],
          env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
          securityContext: { runAsUser: 0 },
          volumeMounts: [{ name: "data", mountPath: "/data" }],
        },
      ],
      volumes: [{ name: "data", hostPath: { path: `/var/lib/${name}`, type: "DirectoryOrCreate" } }],
    },
  };
  const file = join(cluster.controlPlane.folder, `${name}.json`);
  writeFileSync(file, JSON.stringify(pod));
  // the controller manager makes it some time after the API server is there
  const account = ["get", "serviceaccount", "default", "--ignore-not-found", "-o", "name"];
  await cluster.eventually("a service account", 60, async () => (await cluster.kubectl(...account)) !== "");
  await cluster.kubectl("apply", "-f", file);
}
