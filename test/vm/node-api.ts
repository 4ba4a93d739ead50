/** The API of a node's agent over mutual TLS, as the control plane reaches it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import { NodeService, type Status } from "../../agent/api/gen/sealet.ts";
import { call } from "../../agent/kms/call.ts";
import type { ControlPlane } from "../cluster/control-plane.ts";

export const NODE_API_PORT = 7444;

/** `sealet status` of a node. @param address of this host, that leads to the node */
export async function nodeStatus(controlPlane: ControlPlane, node: string, address: string): Promise<Status> {
  const file = (name: string) => readFileSync(join(controlPlane.folder, name));
  const tls = credentials.createSsl(file("ca.crt"), file("admin.key"), file("admin.crt"));
  const client = new Client(`${address}:${NODE_API_PORT}`, tls, {
    "grpc.ssl_target_name_override": node,
    "grpc.default_authority": node,
  });
  try {
    return await call(client, NodeService.getStatus, {}, { timeoutMs: 20_000, unreachable: "NOT_SERVING" });
  } finally {
    client.close();
  }
}
