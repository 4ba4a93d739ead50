/**
 * The cluster's certificate authority, for kubelet alone: signs a client and a serving certificate with one node's name
 * on them, and nothing else.
 */
import {
  KeyObject,
  X509Certificate as NodeCertificate,
  createPrivateKey,
  randomBytes,
  webcrypto,
} from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { nodeCrypto } from "../crypto/node.ts";
import { SealetError } from "../error.ts";
import { type CertificateRequest, checkNames, readRequest } from "./csr.ts";
import { pem } from "./identity.ts";

export interface SignedPair {
  readonly client: Buffer;
  readonly serving: Buffer;
}

export interface EnrolmentCa {
  /** DER. */
  readonly certificate: Buffer;
  /** @throws ENROL_REFUSED */
  sign(
    node: string,
    requests: { readonly client: Uint8Array; readonly serving: Uint8Array },
    now: number,
  ): Promise<SignedPair>;
}

const crypto = nodeCrypto();
/** The node's clock is the host's, and may be behind. */
const BACKDATE_MS = 10 * 60_000;

/**
 * @param certificate PEM
 * @param privateKey PEM; P-256, P-384, RSA
 * @throws CONFIG_INVALID
 */
export async function openCa(
  certificate: Buffer,
  privateKey: Buffer,
  validityMs: number,
): Promise<EnrolmentCa> {
  try {
    const ca = new X509Certificate(certificate.toString("latin1"));
    const key = createPrivateKey(privateKey);
    checkPair(certificate, key);
    const signingAlgorithm = algorithmOf(key);
    const signingKey = key.toCryptoKey(signingAlgorithm, false, ["sign"]);
    const authority = await AuthorityKeyIdentifierExtension.create(ca.publicKey);
    const issue = async (request: CertificateRequest, node: string, usage: ExtendedKeyUsage, now: number) => {
      const serving = usage === ExtendedKeyUsage.serverAuth;
      const names: JsonGeneralNames = [
        { type: "dns", value: node },
        ...request.ipAddresses.map((value) => ({ type: "ip" as const, value })),
      ];
      const publicKey = Uint8Array.from(request.spki);
      const signed = await X509CertificateGenerator.create({
        serialNumber: newSerial(),
        issuer: ca.subjectName,
        subject: [{ O: ["system:nodes"] }, { CN: [`system:node:${node}`] }],
        notBefore: new Date(now - BACKDATE_MS),
        notAfter: new Date(Math.min(now + validityMs, ca.notAfter.getTime())),
        publicKey,
        signingKey,
        signingAlgorithm,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([usage], false),
          authority,
          await SubjectKeyIdentifierExtension.create(publicKey),
          ...(serving ? [new SubjectAlternativeNameExtension(names)] : []),
        ],
      });
      return Buffer.from(signed.rawData);
    };
    return {
      certificate: Buffer.from(ca.rawData),
      async sign(node, requests, now) {
        const client = await readRequest(crypto, requests.client);
        const serving = await readRequest(crypto, requests.serving);
        for (const request of [client, serving]) checkNames(request, node);
        return {
          client: await issue(client, node, ExtendedKeyUsage.clientAuth, now),
          serving: await issue(serving, node, ExtendedKeyUsage.serverAuth, now),
        };
      },
    };
  } catch (cause) {
    if (cause instanceof SealetError) throw cause;
    throw new SealetError("CONFIG_INVALID", "The cluster's CA certificate or key cannot be used", { cause });
  }
}

type Algorithm = { name: string; namedCurve?: string; hash: string };

function algorithmOf(key: KeyObject): Algorithm {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === "prime256v1") return { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  if (curve === "secp384r1") return { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" };
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  throw new SealetError("CONFIG_INVALID", "The cluster's CA key is of another kind", {
    expected: "P-256, P-384 or RSA",
    found: curve ?? key.asymmetricKeyType ?? "unknown",
  });
}

function checkPair(certificate: Buffer, key: KeyObject): void {
  const read = new NodeCertificate(certificate);
  if (!read.ca) throw new SealetError("CONFIG_INVALID", "The cluster's CA certificate is no CA's");
  if (!read.checkPrivateKey(key))
    throw new SealetError("CONFIG_INVALID", "The cluster's CA key is not the one of its certificate");
}

/** 127 bits (RFC 5280 §4.1.2.2: positive, at most 20 bytes). */
function newSerial(): string {
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  return serial.toString("hex");
}

/** Makes a CA for a cluster that has none yet. */
export async function createCa(cluster: string): Promise<{ certificate: Buffer; privateKey: Buffer }> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    signingAlgorithm: algorithm,
    name: [{ CN: [`${cluster} CA`] }],
    serialNumber: newSerial(),
    notBefore: new Date(Date.now() - BACKDATE_MS),
    notAfter: new Date(Date.now() + 10 * 365 * 86_400_000),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(
        KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature,
        true,
      ),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const der = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "der" });
  try {
    return {
      certificate: pem("CERTIFICATE", Buffer.from(certificate.rawData)),
      privateKey: pem("PRIVATE KEY", der),
    };
  } finally {
    der.fill(0);
  }
}
