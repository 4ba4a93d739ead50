/** Certificates of any subject under a cluster CA made here. */
import { type KeyObject, generateKeyPairSync } from "node:crypto";
import { type Subject, encodeName, issueCertificate } from "../../agent/crypto/certificate.ts";

interface Issued {
  /** PEM. */
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

export interface TestCa {
  /** PEM. */
  readonly certificate: Buffer;
  /** @param notAfter default: in an hour */
  issue(subject: Subject, kind: "client" | "serving", notAfter?: Date): Issued;
}

const pem = (der: Buffer) =>
  Buffer.from(`-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n`);
const newKey = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const spki = (key: KeyObject) => key.export({ type: "spki", format: "der" });

export function testCa(): TestCa {
  const ca = newKey();
  const subject = { CN: "test CA" };
  const issuer = { name: encodeName(subject), key: ca.privateKey };
  const dates = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  return {
    certificate: pem(
      issueCertificate({ subject, spki: spki(ca.publicKey), ...dates, as: { kind: "ca" } }, issuer),
    ),
    issue(name, kind, notAfter = dates.notAfter) {
      const keys = newKey();
      const names = { dns: ["localhost"], ip: ["127.0.0.1", "::1", "fd00::10:1"] };
      const as = kind === "client" ? ({ kind } as const) : ({ kind, names } as const);
      return {
        certificate: pem(
          issueCertificate({ subject: name, spki: spki(keys.publicKey), ...dates, notAfter, as }, issuer),
        ),
        privateKey: Buffer.from(keys.privateKey.export({ type: "pkcs8", format: "pem" })),
      };
    },
  };
}
