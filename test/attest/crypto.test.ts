/** Two implementations of one interface: the same answers, for right and for wrong input. */
import assert from "node:assert/strict";
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from "node:crypto";
import type { SignatureAlgorithm } from "../../agent/attest/crypto.ts";
import { webCrypto } from "../../agent/attest/webcrypto.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";

const data = new Uint8Array(1000).fill(7);
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
const ed25519 = generateKeyPairSync("ed25519").privateKey;
const spki = (key: KeyObject): Uint8Array => createPublicKey(key).export({ format: "der", type: "spki" });

const padding = constants.RSA_PKCS1_PSS_PADDING;
const SIGNED: Readonly<Record<SignatureAlgorithm, { key: KeyObject; signature: Uint8Array }>> = {
  "ecdsa-p256-sha256": {
    key: p256,
    signature: sign("sha256", data, { key: p256, dsaEncoding: "ieee-p1363" }),
  },
  "ecdsa-p384-sha384": {
    key: p384,
    signature: sign("sha384", data, { key: p384, dsaEncoding: "ieee-p1363" }),
  },
  "rsa-pss-sha384": { key: rsa, signature: sign("sha384", data, { key: rsa, padding, saltLength: 48 }) },
  "rsa-pkcs1-sha256": { key: rsa, signature: sign("sha256", data, rsa) },
  ed25519: { key: ed25519, signature: sign(null, data, ed25519) },
};
const ALGORITHMS = [
  "ecdsa-p256-sha256",
  "ecdsa-p384-sha384",
  "rsa-pss-sha384",
  "rsa-pkcs1-sha256",
  "ed25519",
] as const satisfies readonly SignatureAlgorithm[];

for (const [name, make] of [
  ["node:crypto", () => nodeCrypto({ maxKeys: 2 })],
  ["node:crypto on this thread", () => nodeCrypto({ onThisThread: true })],
  ["WebCrypto", () => webCrypto()],
] as const)
  describe(`crypto by ${name}`, () => {
    const crypto = make();

    for (const algorithm of ["sha256", "sha384", "sha512"] as const)
      it(algorithm, async () => {
        const expected = createHash(algorithm).update(data).digest("hex");
        assert.equal(Buffer.from(await crypto.digest(algorithm, data)).toString("hex"), expected);
        const part = data.subarray(100, 200);
        assert.equal(
          Buffer.from(await crypto.digest(algorithm, part)).toString("hex"),
          createHash(algorithm).update(part).digest("hex"),
        );
      });

    for (const algorithm of ALGORITHMS) {
      const { key, signature } = SIGNED[algorithm];
      it(`${algorithm}: right, then each thing wrong`, async () => {
        assert.equal(await crypto.verify(algorithm, spki(key), signature, data), true);
        assert.equal(await crypto.verify(algorithm, spki(key), signature, data.subarray(1)), false);
        const flipped = Uint8Array.from(signature);
        flipped[10] = (flipped[10] ?? 0) ^ 1;
        assert.equal(await crypto.verify(algorithm, spki(key), flipped, data), false);
        assert.equal(await crypto.verify(algorithm, spki(key), signature.subarray(1), data), false);
        assert.equal(await crypto.verify(algorithm, spki(key), new Uint8Array(0), data), false);
        assert.equal(await crypto.verify(algorithm, new Uint8Array(20), signature, data), false);
        assert.equal(await crypto.verify(algorithm, spki(key), signature, data), true);
      });
      for (const other of ALGORITHMS)
        if (SIGNED[other].key !== key)
          it(`${algorithm} does not take a key of ${other}`, async () => {
            assert.equal(await crypto.verify(algorithm, spki(SIGNED[other].key), signature, data), false);
          });
    }

    it("a key of another curve does not pass, though its signature over that digest holds", async () => {
      for (const [algorithm, key, hash] of [
        ["ecdsa-p256-sha256", p384, "sha256"],
        ["ecdsa-p384-sha384", p256, "sha384"],
      ] as const) {
        const signature = sign(hash, data, { key, dsaEncoding: "ieee-p1363" });
        assert.equal(await crypto.verify(algorithm, spki(key), signature, data), false);
      }
    });

    it("a salt of another length is wrong", async () => {
      const signature = sign("sha384", data, { key: rsa, padding, saltLength: 32 });
      assert.equal(await crypto.verify("rsa-pss-sha384", spki(rsa), signature, data), false);
    });

    it("input may be on shared memory", async () => {
      const shared = new Uint8Array(new SharedArrayBuffer(data.length));
      shared.set(data);
      assert.equal(await crypto.verify("ed25519", spki(ed25519), SIGNED.ed25519.signature, shared), true);
    });
  });

describe("WebCrypto's keys", () => {
  it("may be more than are kept", async () => {
    const crypto = webCrypto();
    for (let i = 0; i < 300; i++) {
      const { privateKey } = generateKeyPairSync("ed25519");
      assert.ok(await crypto.verify("ed25519", spki(privateKey), sign(null, data, privateKey), data));
    }
  });
});
