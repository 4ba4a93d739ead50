/** Certificates and requests as made here, read by OpenSSL (node:crypto) and by the KMS's strict reader. */
import assert from "node:assert/strict";
import { X509Certificate, createPrivateKey, generateKeyPairSync } from "node:crypto";
import { OID, parseCertificate } from "../../agent/attest/x509.ts";
import { certificateRequest, encodeName, issueCertificate } from "../../agent/crypto/certificate.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { pem } from "../../agent/crypto/pem.ts";
import { checkNames, readRequest } from "../../agent/kms/csr.ts";
import { createCa, openCa } from "../../agent/kms/enrolment-ca.ts";
import { createIdentity } from "../../agent/kms/identity.ts";

const SUBJECT = { O: "system:nodes", CN: "system:node:worker-1" };

describe("certificates", () => {
  it("of an identity verify under their own key and never expire", async () => {
    const { certificate, privateKey } = await createIdentity("sealet node");
    const read = new X509Certificate(certificate);
    assert.equal(read.verify(read.publicKey), true);
    assert.equal(read.checkPrivateKey(createPrivateKey(privateKey)), true);
    assert.equal(read.subject, "CN=sealet node");
    assert.equal(read.validToDate.getUTCFullYear(), 9999);
    assert.equal(read.ca, false);
  });

  for (const [what, options] of [
    ["P-256", { namedCurve: "prime256v1" }],
    ["P-384", { namedCurve: "secp384r1" }],
  ] as const) {
    it(`for a node are signed by a CA's ${what} key for the request's key, name and addresses`, async () => {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const names = { dns: ["worker-1"], ip: ["10.0.2.15", "fd00::10:1", "2001:db8:1:2:3:4:5:6"] };
      const requests = {
        client: certificateRequest(SUBJECT, undefined, privateKey),
        serving: certificateRequest(SUBJECT, names, privateKey),
      };
      const made = await createCa("prod");
      const ca = options.namedCurve === "prime256v1" ? made : otherCa(options.namedCurve);
      const authority = openCa(ca.certificate, ca.privateKey, 86_400_000);
      const signed = await authority.sign("worker-1", requests, Date.now());
      const root = new X509Certificate(authority.certificate);
      const client = new X509Certificate(signed.client);
      const serving = new X509Certificate(signed.serving);
      for (const certificate of [client, serving]) {
        assert.equal(certificate.verify(root.publicKey), true);
        assert.equal(certificate.checkIssued(root), true);
        assert.equal(certificate.checkPrivateKey(privateKey), true);
        assert.equal(certificate.subject, "O=system:nodes\nCN=system:node:worker-1");
      }
      assert.equal(serving.checkHost("worker-1"), "worker-1");
      for (const address of names.ip) assert.equal(serving.checkIP(address), address);
      assert.deepEqual(client.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
      assert.deepEqual(serving.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
    });
  }

  it("of nodes may sign nothing, say so critically, and have serials of their own", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const request = certificateRequest(SUBJECT, undefined, privateKey);
    const { certificate, privateKey: key } = await createCa("prod");
    const authority = openCa(certificate, key, 86_400_000);
    const signed = await authority.sign("worker-1", { client: request, serving: request }, Date.now());
    const serials = [authority.certificate, signed.client, signed.serving].map(
      (der) => new X509Certificate(der).serialNumber,
    );
    assert.equal(new Set(serials).size, 3);
    for (const der of [signed.client, signed.serving]) {
      const { extensions } = parseCertificate(der);
      const found = [OID.basicConstraints, OID.keyUsage].map((id) => {
        const { critical, value } = extensions.get(id) ?? assert.fail(id);
        return [critical, Buffer.from(value).toString("hex")];
      });
      // No CA; digitalSignature alone.
      assert.deepEqual(found, [
        [true, "3000"],
        [true, "03020780"],
      ]);
    }
  });

  it("I9 leave no encoding of their private keys behind", async () => {
    const keys: { export: (...options: never[]) => unknown } = Object.getPrototypeOf(
      generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
    );
    const { export: exported } = keys;
    const seen: Buffer[] = [];
    keys.export = function (...options) {
      const encoded = exported.apply(this, options);
      if (encoded instanceof Buffer) seen.push(encoded);
      return encoded;
    };
    try {
      await createIdentity("sealet node");
      await createCa("prod");
    } finally {
      keys.export = exported;
    }
    assert.equal(seen.length, 2);
    for (const bytes of seen) assert.ok(bytes.every((byte) => byte === 0));
  });

  it("requests are read back by the strict reader", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const der = certificateRequest(SUBJECT, { dns: ["worker-1"], ip: ["fd00::a01:203"] }, privateKey);
    const request = await readRequest(nodeCrypto(), der);
    checkNames(request, "worker-1");
    assert.deepEqual(request.ipAddresses, ["fd00:0:0:0:0:0:a01:203"]);
    assert.throws(() => checkNames(request, "worker-2"), { code: "ENROL_REFUSED" });
  });
});

function otherCa(namedCurve: string): { certificate: Buffer; privateKey: Buffer } {
  const keys = generateKeyPairSync("ec", { namedCurve });
  const subject = { CN: "other CA" };
  const certificate = issueCertificate(
    {
      subject,
      spki: keys.publicKey.export({ type: "spki", format: "der" }),
      notBefore: new Date(),
      notAfter: new Date(Date.now() + 86_400_000),
      as: { kind: "ca" },
    },
    { name: encodeName(subject), key: keys.privateKey },
  );
  return {
    certificate: pem("CERTIFICATE", certificate),
    privateKey: pem("PRIVATE KEY", keys.privateKey.export({ type: "pkcs8", format: "der" })),
  };
}
