/** Who asks: a TLS key that was proven in the handshake, and an address. What else it is, evidence has to say. */
import { X509Certificate } from "node:crypto";
import { peerGroup } from "../api/tls-door.ts";
import { SealetError } from "../error.ts";
import { spkiDigest } from "./identity.ts";

export interface Peer {
  /** DER. */
  readonly spki: Buffer;
  /** Hex SHA-256 of it: the name by which a lease knows its holder. */
  readonly holder: string;
  readonly address: string;
  /** Whose share of the KMS's room its requests take, unless it holds a lease. */
  readonly group: string;
}

/**
 * @param certificate as presented (DER); its key was proven by TLS, its words mean nothing
 * @param address "ip:port"
 * @throws UNAUTHENTICATED: no certificate, or a key that is not P-256
 */
export function readPeer(certificate: Uint8Array | undefined, address: string): Peer {
  if (certificate === undefined)
    throw new SealetError("UNAUTHENTICATED", "The node presented no TLS certificate");
  const { publicKey } = new X509Certificate(certificate);
  if (publicKey.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    throw new SealetError("UNAUTHENTICATED", "The node's TLS key is not P-256");
  const spki = publicKey.export({ type: "spki", format: "der" });
  const ip = address.slice(0, Math.max(0, address.lastIndexOf(":")));
  return { spki, holder: spkiDigest(spki).toString("hex"), address, group: peerGroup(ip) };
}
