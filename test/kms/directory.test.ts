/** `sealet kms init` with what does not belong into a KMS's directory. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Setup, createDirectory, openDirectory, pathsOf } from "../../agent/kms/directory.ts";
import { createIdentity } from "../../agent/kms/identity.ts";
import { CA_THAT_MAY_NOT_SIGN } from "./other-cas.ts";

describe("a KMS's directory", () => {
  const operator = generateKeyPairSync("ed25519");
  const publicKey = Buffer.from(operator.publicKey.export({ type: "spki", format: "pem" }));
  const privateKey = Buffer.from(operator.privateKey.export({ type: "pkcs8", format: "pem" }));
  const setup: Setup = { cluster: "prod", endpoints: ["kms:7443"], operatorKeys: [publicKey] };
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-directory-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("never gets an operator's private key, though its public half could be had from it", async () => {
    const directory = join(folder, "kms");
    await assert.rejects(createDirectory(directory, { ...setup, operatorKeys: [privateKey] }), {
      code: "CONFIG_INVALID",
      message: /private/,
    });
    assert.ok(!existsSync(directory));
    await createDirectory(directory, setup);
    const path = join(pathsOf(directory).operators, "0.pem");
    assert.deepEqual(readFileSync(path), publicKey);
    writeFileSync(path, privateKey);
    assert.throws(() => openDirectory(directory), {
      code: "CONFIG_INVALID",
      message: /0\.pem is a private one/,
    });
  });

  it("is not made of another's, whose mode stays", async () => {
    const other = join(folder, "other");
    mkdirSync(other);
    chmodSync(other, 0o755);
    writeFileSync(join(other, "file"), "");
    await assert.rejects(createDirectory(other, setup), { code: "CONFIG_INVALID", message: /not empty/ });
    assert.equal(statSync(other).mode & 0o777, 0o755);
  });

  it("is not begun with a CA that the KMS could not serve with", async () => {
    const directory = join(folder, "kms");
    const { certificate, privateKey: key } = CA_THAT_MAY_NOT_SIGN;
    const notToSign = { certificate: Buffer.from(certificate), privateKey: Buffer.from(key) };
    for (const ca of [await createIdentity("no CA"), notToSign]) {
      const made = createDirectory(directory, { ...setup, ca });
      await assert.rejects(made, { code: "CONFIG_INVALID", message: /is no CA's/ });
      assert.ok(!existsSync(directory));
    }
  });
});
