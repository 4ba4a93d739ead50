/** What names and addresses may look like, wherever a file or an operator gives them. */
import { z } from "zod";

const LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?";

/** RFC 1123 subdomain, as Kubernetes has it for nodes; 63, so that it fits a label's value. */
export const nodeName = z
  .string()
  .max(63, "longer than 63 characters")
  .regex(
    new RegExp(`^${LABEL}(?:\\.${LABEL})*$`),
    "not a node name (lower case letters, digits, '-' and '.')",
  );

export const clusterName = z
  .string()
  .regex(new RegExp(`^${LABEL}$`), "not a cluster name (lower case letters, digits and '-', at most 63)");

export const role = z.enum(["worker", "control-plane"]);

const HOST = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[-A-Za-z0-9.]{0,251}[A-Za-z0-9])?)$/;

export const endpoint = z.string().refine((text) => {
  const colon = text.lastIndexOf(":");
  const port = text.slice(colon + 1);
  return (
    colon > 0 && HOST.test(text.slice(0, colon)) && /^[1-9][0-9]{0,4}$/.test(port) && Number(port) < 65536
  );
}, "not 'host:port'");

export const hex32 = z.string().regex(/^[0-9a-f]{64}$/, "not 64 lower case hex digits");
