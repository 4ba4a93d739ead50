/** The cluster's certificates: one CA, and what each component shows the others. P-256, made in milliseconds. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  encodeName,
  issueCertificate,
  type CertificateKind,
  type Subject,
} from "../../agent/crypto/certificate.ts";
import { pem } from "../../agent/crypto/pem.ts";
import { createCa } from "../../agent/kms/enrolment-ca.ts";

export interface Authority {
  /** PEM files. */
  readonly certificate: string;
  readonly key: string;
  /** Writes `<name>.crt` and `<name>.key` for a client, or for a server with names and addresses. */
  readonly issue: (name: string, subject: Subject, serves?: readonly string[]) => void;
}

/** Makes a CA in a folder. */
export async function certificateAuthority(folder: string, cluster: string): Promise<Authority> {
  const made = await createCa(cluster);
  const certificate = join(folder, "ca.crt");
  const key = join(folder, "ca.key");
  writeFileSync(certificate, made.certificate);
  writeFileSync(key, made.privateKey, { mode: 0o600 });
  // createCa names its CA so
  const issuer = { name: encodeName({ CN: `${cluster} CA` }), key: createPrivateKey(made.privateKey) };
  return {
    certificate,
    key,
    issue: (name, subject, serves) => {
      const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const as: CertificateKind =
        serves === undefined ? { kind: "client" } : { kind: "serving", names: names(serves) };
      const notBefore = new Date(Date.now() - 600_000);
      const notAfter = new Date(Date.now() + 365 * 86_400_000);
      const spki = keys.publicKey.export({ type: "spki", format: "der" });
      const der = issueCertificate({ subject, spki, notBefore, notAfter, as }, issuer);
      writeFileSync(join(folder, `${name}.crt`), pem("CERTIFICATE", der));
      writePrivate(join(folder, `${name}.key`), keys.privateKey);
    },
  };
}

function names(serves: readonly string[]) {
  return { dns: serves.filter((name) => isIP(name) === 0), ip: serves.filter((name) => isIP(name) !== 0) };
}

function writePrivate(file: string, key: KeyObject): void {
  writeFileSync(file, key.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
}

/** The key that signs service accounts' tokens. */
export function serviceAccountKey(folder: string): void {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(join(folder, "service-account.pub"), publicKey.export({ type: "spki", format: "pem" }));
  writePrivate(join(folder, "service-account.key"), privateKey);
}
