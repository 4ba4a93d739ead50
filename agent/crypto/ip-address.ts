/** IP addresses as bytes: text has many ways to say the same. */
import { isIPv4, isIPv6 } from "node:net";

/** @returns 4 or 16 bytes; undefined for what is no address */
export function ipBytes(address: string): Buffer | undefined {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  if (!isIPv6(address) || address.includes("%")) return undefined;
  // The URL parser writes IPv6 in full length but for one "::" (WHATWG URL, IPv6 serializer).
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [left = [], right = []] = text
    .split("::")
    .map((part) => part.split(":").filter((word) => word !== ""));
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  const bytes = Buffer.alloc(16);
  [...left, ...zeros, ...right].forEach((word, i) => bytes.writeUInt16BE(Number.parseInt(word, 16), 2 * i));
  return bytes;
}
