/**
 * The node's identity in the cluster: two key pairs made on the node, which never leave the sealed disk, and the
 * certificates over them that the KMS had signed.
 */
import { type KeyObject, X509Certificate, createPrivateKey, generateKeyPairSync } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { certificateRequest } from "../crypto/certificate.ts";
import { pem } from "../crypto/pem.ts";
import type { EnrolResponse } from "../api/gen/sealet.ts";
import { SealetError } from "../error.ts";
import { readIfThere, writeAtomically } from "../atomic-file.ts";
import { FILES } from "./places.ts";

/** As many addresses as the KMS takes. */
const MAX_ADDRESSES = 16;

export interface CertificateRequests {
  /** PKCS#10, DER. */
  readonly client: Buffer;
  readonly serving: Buffer;
}

export interface NodeKeys {
  readonly client: KeyObject;
  readonly serving: KeyObject;
}

/** Reads the keys, and makes those that are not there. A key that can't be read is made anew: it was cut off. */
export function openKeys(files: { clientKey: string; servingKey: string } = FILES): NodeKeys {
  return { client: openKey(files.clientKey), serving: openKey(files.servingKey) };
}

function openKey(path: string): KeyObject {
  const stored = readIfThere(path);
  try {
    if (stored !== undefined) return createPrivateKey(stored);
  } catch {
    // Falls through: nothing is lost with it, a certificate is got at every boot.
  } finally {
    stored?.fill(0);
  }
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  const text = pem("PRIVATE KEY", der);
  try {
    writeAtomically(path, text);
  } finally {
    der.fill(0);
    text.fill(0);
  }
  return privateKey;
}

export function certificateRequests(keys: NodeKeys, node: string, ip = ownAddresses()): CertificateRequests {
  const subject = { O: "system:nodes", CN: `system:node:${node}` };
  return {
    client: certificateRequest(subject, undefined, keys.client),
    serving: certificateRequest(subject, { dns: [node], ip }, keys.serving),
  };
}

/** Addresses at which others reach this machine; those of pods' links and of services are not the node's. */
export function ownAddresses(): readonly string[] {
  const addresses = Object.entries(networkInterfaces())
    .filter(([link]) => leadsOut(link))
    .flatMap(([, list]) => list ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address);
  return [...new Set(addresses)].slice(0, MAX_ADDRESSES);
}

/**
 * Whether a link is a device's, or stands on one that is (VLAN, bond, bridge).
 * @see Documentation/ABI/testing/sysfs-class-net, "lower_"
 */
export function leadsOut(link: string, links = "/sys/class/net"): boolean {
  const path = join(links, link);
  if (!existsSync(path)) return false;
  const entries = readdirSync(path);
  const below = entries.flatMap((entry) =>
    entry.startsWith("lower_") ? [entry.slice("lower_".length)] : [],
  );
  return entries.includes("device") || below.some((lower) => leadsOut(lower, links));
}

/**
 * What the KMS answered, held against what was asked: a certificate for another key or name is not taken.
 * @throws ENROL_REFUSED
 */
export function checkEnrolment(answer: EnrolResponse, keys: NodeKeys, node: string): void {
  if (answer.nodeName !== node) throw refused("the node's name", node, answer.nodeName);
  const ca = read(answer.clusterCa, "the cluster's CA certificate");
  if (!ca.ca) throw refused("the cluster's CA certificate", "a CA's", "one that is no CA's");
  const subject = `O=system:nodes\nCN=system:node:${node}`;
  for (const [what, der, key] of [
    ["the client certificate", answer.clientCertificate, keys.client],
    ["the serving certificate", answer.servingCertificate, keys.serving],
  ] as const) {
    const certificate = read(der, what);
    if (!certificate.checkPrivateKey(key)) throw refused(what, "one for the node's key", "one for another");
    if (certificate.subject !== subject) throw refused(what, subject, certificate.subject);
    if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) {
      throw refused(what, "one under the cluster's CA", "one that is not");
    }
  }
}

/** A certificate is renewed when a third of its life is left. */
const RENEW_BELOW = 1 / 3;

/** Whether the certificates do: not old yet, and for these addresses. */
export function isFresh(
  { clientCertificate, servingCertificate }: EnrolResponse,
  now: number,
  addresses: readonly string[],
): boolean {
  try {
    const { from, to } = validity(clientCertificate);
    const serving = read(servingCertificate, "the serving certificate");
    const named = addresses.every((address) => serving.checkIP(address) !== undefined);
    return named && now >= from && (to - now) / (to - from) > RENEW_BELOW;
  } catch {
    return false;
  }
}

/** In milliseconds since 1970. */
export function validity(certificate: Uint8Array): { readonly from: number; readonly to: number } {
  const { validFromDate, validToDate } = read(certificate, "the certificate");
  return { from: validFromDate.getTime(), to: validToDate.getTime() };
}

function read(der: Uint8Array, what: string): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new SealetError("ENROL_REFUSED", `The KMS's answer: ${what} cannot be read`, { cause });
  }
}

function refused(what: string, expected: string, found: string): SealetError {
  const detail = { expected: oneLine(expected), found: oneLine(found) };
  return new SealetError("ENROL_REFUSED", `The KMS's answer: ${what} is not right`, detail);
}

function oneLine(text: string): string {
  return text.replaceAll("\n", ", ");
}
