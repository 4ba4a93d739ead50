/**
 * A node's certificate request (PKCS#10, RFC 2986), read strictly: a P-256 key that signed its own request, and names.
 * Nothing of it is copied into a certificate but the key, the node's own name and IP addresses.
 */
import { isIP } from "node:net";
import { ecdsaToP1363 } from "../attest/chain.ts";
import type { Crypto } from "../attest/crypto.ts";
import { Der, TAG, explicit, implicit } from "../attest/der.ts";
import { attempt } from "../attest/malformed.ts";
import { type PublicKey, parsePublicKey } from "../attest/x509.ts";
import { SealetError } from "../error.ts";

const MAX_REQUEST_BYTES = 4096;
const MAX_NAMES = 17;

const OID = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  extensionRequest: "1.2.840.113549.1.9.14",
  subjectAltName: "2.5.29.17",
} as const;

export interface CertificateRequest {
  readonly spki: Uint8Array;
  /** One attribute of each: OID and value. */
  readonly subject: ReadonlyMap<string, string>;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** @throws ENROL_REFUSED */
export async function readRequest(crypto: Crypto, der: Uint8Array): Promise<CertificateRequest> {
  const read = attempt(() => parse(der));
  if (!read.ok) throw refused("form", "a PKCS#10 request with a P-256 key", read.refusal.why);
  const { info, signature, ...request } = read.value;
  const p1363 = attempt(() => ecdsaToP1363(signature, 32));
  const proven = p1363.ok && (await crypto.verify("ecdsa-p256-sha256", request.spki, p1363.value, info));
  if (!proven) throw refused("signature", "a signature by the request's own key", "another one");
  return request;
}

/** What kubelet's signers demand of a node. @see kubernetes.io/docs, "Certificate Signing Requests" */
export function checkNames(request: CertificateRequest, node: string): void {
  const { subject, dnsNames, ipAddresses } = request;
  const text = [...subject].map(([oid, value]) => `${oid}=${value}`).join(", ");
  const right =
    subject.size === 2 &&
    subject.get(OID.commonName) === `system:node:${node}` &&
    subject.get(OID.organization) === "system:nodes";
  if (!right) throw refused("subject", `CN=system:node:${node}, O=system:nodes`, text);
  const foreign = dnsNames.find((name) => name !== node);
  if (foreign !== undefined) throw refused("subjectAltName", node, foreign);
  const special = ipAddresses.find((address) => SPECIAL.test(address));
  if (special !== undefined) throw refused("subjectAltName", "addresses of a machine", special);
}

/** Unspecified, loopback, multicast, broadcast: no machine's own. */
const SPECIAL = /^(0\.|127\.|22[4-9]\.|23[0-9]\.|255\.255\.255\.255$|ff|(0:){7}[01]$)/;

interface Parsed extends CertificateRequest {
  readonly info: Uint8Array;
  readonly signature: Uint8Array;
}

function parse(der: Uint8Array): Parsed {
  const outer = new Der(der, "certificate request");
  if (der.length > MAX_REQUEST_BYTES) outer.fail("TOO_LARGE", `over ${MAX_REQUEST_BYTES} bytes`);
  const request = outer.sequence("request");
  outer.close("request");
  const info = request.raw(TAG.sequence, "certificationRequestInfo");
  const algorithm = request.sequence("signatureAlgorithm");
  if (algorithm.oid("algorithm") !== OID.ecdsaWithSha256)
    algorithm.fail("UNSUPPORTED", "the signature is not ECDSA with SHA-256");
  algorithm.close("algorithm");
  const signature = request.bitString("signature");
  request.close("signature");

  const whole = new Der(info, "certificate request");
  const body = whole.sequence("certificationRequestInfo");
  if (body.small("version") !== 0) body.fail("UNSUPPORTED", "version is not 0");
  const subject = readSubject(body.sequence("subject"));
  const key: PublicKey = parsePublicKey(body.raw(TAG.sequence, "subjectPublicKeyInfo"));
  if (key.kind !== "p256") body.fail("UNSUPPORTED", "the key is not P-256");
  const names = body.empty ? NO_NAMES : readAttributes(body.enter(explicit(0), "attributes"));
  body.close("attributes");
  return { info, signature, spki: key.spki, subject, ...names };
}

function readSubject(names: Der): Map<string, string> {
  const subject = new Map<string, string>();
  while (!names.empty) {
    const set = names.enter(TAG.set, "subject");
    const attribute = set.sequence("subject");
    set.close("subject");
    const oid = attribute.oid("subject");
    const tag = attribute.peek() === TAG.utf8String ? TAG.utf8String : TAG.printableString;
    const value = ascii(attribute, attribute.primitive(tag, "subject"));
    attribute.close("subject");
    if (subject.has(oid)) names.fail("DUPLICATE", `${oid} twice`);
    subject.set(oid, value);
  }
  return subject;
}

interface Names {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}
const NO_NAMES: Names = { dnsNames: [], ipAddresses: [] };

function readAttributes(attributes: Der): Names {
  if (attributes.empty) return NO_NAMES;
  const attribute = attributes.sequence("attribute");
  attributes.close("attribute");
  if (attribute.oid("attribute") !== OID.extensionRequest)
    attribute.fail("UNSUPPORTED", "another attribute than extensionRequest");
  const values = attribute.enter(TAG.set, "extensionRequest");
  attribute.close("extensionRequest");
  const extensions = values.sequence("extensions");
  values.close("extensions");
  let names: Names | undefined;
  while (!extensions.empty) {
    const extension = extensions.sequence("extension");
    const oid = extension.oid("extnID");
    if (extension.peek() === TAG.boolean) extension.boolean("critical");
    const value = extension.enter(TAG.octetString, "extnValue");
    extension.close("extnValue");
    // Usages and the like are ours to set, whatever was asked for.
    if (oid !== OID.subjectAltName) continue;
    if (names !== undefined) extensions.fail("DUPLICATE", "subjectAltName twice");
    names = readAltNames(value.sequence("subjectAltName"));
    value.close("subjectAltName");
  }
  return names ?? NO_NAMES;
}

/** RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7]. */
function readAltNames(list: Der): Names {
  const dnsNames: string[] = [];
  const ipAddresses: string[] = [];
  while (!list.empty) {
    if (dnsNames.length + ipAddresses.length === MAX_NAMES) list.fail("TOO_LARGE", "too many names");
    if (list.peek() === implicit(2)) dnsNames.push(ascii(list, list.primitive(implicit(2), "dNSName")));
    else ipAddresses.push(addressText(list, list.primitive(implicit(7), "a name that is no DNS name")));
  }
  return { dnsNames, ipAddresses };
}

function addressText(from: Der, bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text =
    bytes.length === 4
      ? bytes.join(".")
      : bytes.length === 16
        ? Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i).toString(16)).join(":")
        : "";
  return isIP(text) !== 0 ? text : from.fail("ENCODING", "iPAddress is not 4 or 16 bytes");
}

function ascii(from: Der, bytes: Uint8Array): string {
  if (!bytes.every((byte) => byte > 0x20 && byte < 0x7f)) from.fail("ENCODING", "a name is not printable");
  return Buffer.from(bytes).toString("latin1");
}

function refused(predicate: string, expected: string, found: string): SealetError {
  return new SealetError("ENROL_REFUSED", `The certificate request's ${predicate} is not acceptable`, {
    predicate: `csr.${predicate}`,
    expected,
    found: found.slice(0, 256),
  });
}
