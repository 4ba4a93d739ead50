/**
 * The cluster's certificate authority, for kubelet alone: signs a client and a serving certificate with one node's name
 * on them, and nothing else.
 */
import { type KeyObject, X509Certificate, createPrivateKey, generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import { Der, TAG } from "../attest/der.ts";
import { OID, parsePemCertificates } from "../attest/x509.ts";
import { type CertificateKind, type Issuer, encodeName, issueCertificate } from "../crypto/certificate.ts";
import { nodeCrypto } from "../crypto/node.ts";
import { pem } from "../crypto/pem.ts";
import { SealetError, reasonOf } from "../error.ts";
import { checkNames, readRequest } from "./csr.ts";

interface SignedPair {
  /** DER. */
  readonly client: Buffer;
  readonly serving: Buffer;
}

export interface EnrolmentCa {
  /** DER. */
  readonly certificate: Buffer;
  /** @param requests PKCS#10, DER @throws ENROL_REFUSED */
  sign(
    node: string,
    requests: { readonly client: Uint8Array; readonly serving: Uint8Array },
    now: number,
  ): Promise<SignedPair>;
}

const crypto = nodeCrypto();
/** The node's clock is the host's, and may be behind. */
const BACKDATE_MS = 10 * 60_000;
const CA_YEARS = 10;

/** @param certificate PEM @param privateKey PEM: P-256, P-384 or RSA @throws CONFIG_INVALID */
export function openCa(certificate: Buffer, privateKey: Buffer, validityMs: number): EnrolmentCa {
  const { key, read } = readPair(certificate, privateKey);
  const { issuer, der, notAfter } = readAuthority(certificate, key);
  const issue = (spki: Uint8Array, node: string, now: number, as: CertificateKind) =>
    issueCertificate(
      {
        subject: { O: "system:nodes", CN: `system:node:${node}` },
        spki,
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(Math.min(now + validityMs, notAfter)),
        as,
      },
      issuer,
    );
  demandIssuer(
    read,
    issue(read.publicKey.export({ type: "spki", format: "der" }), "probe", Date.now(), { kind: "client" }),
  );
  return {
    certificate: der,
    async sign(node, requests, now) {
      const client = await readRequest(crypto, requests.client);
      const serving = await readRequest(crypto, requests.serving);
      for (const request of [client, serving]) checkNames(request, node);
      const names = { dns: [node], ip: serving.ipAddresses };
      return {
        client: issue(client.spki, node, now, { kind: "client" }),
        serving: issue(serving.spki, node, now, { kind: "serving", names }),
      };
    },
  };
}

/** What nodes will check: found out here, and not on each of them. */
function demandIssuer(ca: X509Certificate, issued: Buffer): void {
  const certificate = new X509Certificate(issued);
  if (certificate.checkIssued(ca) && certificate.verify(ca.publicKey)) return;
  throw new SealetError(
    "CONFIG_INVALID",
    "The cluster's CA may not sign certificates, or cannot be told as their issuer",
  );
}

function readPair(certificate: Buffer, privateKey: Buffer): { key: KeyObject; read: X509Certificate } {
  try {
    const key = createPrivateKey(privateKey);
    const read = new X509Certificate(certificate);
    if (read.ca && read.checkPrivateKey(key)) return { key, read };
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", "The cluster's CA certificate or key cannot be read", { cause });
  }
  throw new SealetError("CONFIG_INVALID", "The cluster's CA certificate is no CA's, or its key is another's");
}

interface Authority {
  readonly issuer: Issuer;
  readonly der: Buffer;
  /** ms since 1970. */
  readonly notAfter: number;
}

function readAuthority(certificate: Buffer, key: KeyObject): Authority {
  try {
    const [ca] = parsePemCertificates(certificate.toString("latin1"), "the cluster's CA certificate");
    if (ca === undefined) throw new Error("no certificate");
    const extension = ca.extensions.get(OID.subjectKeyIdentifier)?.value;
    const keyIdentifier =
      extension && new Der(extension, "key identifier").primitive(TAG.octetString, "identifier");
    const issuer: Issuer = { name: ca.subject.der, key, keyIdentifier };
    return { issuer, der: Buffer.from(ca.der), notAfter: ca.notAfter };
  } catch (cause) {
    throw new SealetError(
      "CONFIG_INVALID",
      `The cluster's CA certificate cannot be used: ${reasonOf(cause)}`,
      { cause },
    );
  }
}

/** Makes a CA for a cluster that has none yet. @returns PEM */
export async function createCa(cluster: string): Promise<{ certificate: Buffer; privateKey: Buffer }> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const subject = { CN: `${cluster} CA` };
  const now = Date.now();
  const certificate = issueCertificate(
    {
      subject,
      spki: publicKey.export({ type: "spki", format: "der" }),
      notBefore: new Date(now - BACKDATE_MS),
      notAfter: new Date(now + CA_YEARS * 365 * 86_400_000),
      as: { kind: "ca" },
    },
    { name: encodeName(subject), key: privateKey },
  );
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  try {
    return { certificate: pem("CERTIFICATE", certificate), privateKey: pem("PRIVATE KEY", der) };
  } finally {
    der.fill(0);
  }
}
