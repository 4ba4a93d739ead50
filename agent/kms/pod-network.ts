/** The cluster's pod network, cut into equal parts, one for each node. IPv4. */
import { isIPv4 } from "node:net";
import { z } from "zod";
import { SealetError } from "../error.ts";

export const podNetwork = z
  .strictObject({ cidr: z.string(), nodePrefix: z.int().min(8).max(30) })
  .superRefine(({ cidr, nodePrefix }, context) => {
    const read = readCidr(cidr);
    if (read === undefined)
      context.addIssue({ code: "custom", path: ["cidr"], message: "not an IPv4 network" });
    else if (read.prefix > nodePrefix)
      context.addIssue({
        code: "custom",
        path: ["nodePrefix"],
        message: "a node's part is larger than the whole",
      });
  });

export type PodNetwork = z.infer<typeof podNetwork>;

/** @param index of the node's part @throws RELEASE_REFUSED where the network has no such part */
export function podCidr({ cidr, nodePrefix }: PodNetwork, index: number): string {
  const network = readCidr(cidr);
  if (network === undefined || index >= 2 ** (nodePrefix - network.prefix))
    throw new SealetError("RELEASE_REFUSED", "The pod network has no room for another node", {
      predicate: "podNetwork",
      expected: cidr,
      found: `part ${index} of /${nodePrefix}`,
    });
  const base = network.address + index * 2 ** (32 - nodePrefix);
  const bytes = [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256);
  return `${bytes.join(".")}/${nodePrefix}`;
}

function readCidr(text: string): { address: number; prefix: number } | undefined {
  const [ip = "", bits = "", ...more] = text.split("/");
  if (!isIPv4(ip) || !/^(?:[89]|[12][0-9]|30)$/.test(bits) || more.length > 0) return undefined;
  const prefix = Number(bits);
  const address = ip.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
  return address % 2 ** (32 - prefix) === 0 ? { address, prefix } : undefined;
}
