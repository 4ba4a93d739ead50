/** I1, the node's side: a KMS that holds the pinned key and answers what no KMS of ours would. */
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA512, KEM_MLKEM768_X25519 } from "hpke";
import {
  type ChallengeResponse,
  type Lease,
  UnsealBody,
  type UnsealResponse,
  type UnsealSecrets,
} from "../../agent/api/gen/sealet.ts";
import { SealetError } from "../../agent/error.ts";
import { KmsConnection } from "../../agent/kms/client.ts";
import { createIdentity, spkiDigest, spkiOf } from "../../agent/kms/identity.ts";
import { type Door, type NodeService, openNodeDoor } from "../../agent/kms/listener.ts";
import { createKemKey, readKemPublicKey, unwrap, wrap } from "../../agent/kms/wrap.ts";
import { blank, codeOf, never } from "./cluster.ts";

const notAsked = (): never => assert.fail("not asked for here");

function good(): UnsealSecrets {
  return {
    diskKey: Buffer.alloc(32, 0xd1),
    headerMacKey: Buffer.alloc(32, 0x3a),
    format: true,
    uuid: randomUUID(),
    generation: 1,
    nextEpoch: 1n,
    lease: lease(),
    timeUnixMs: BigInt(Date.now()),
  };
}

function lease(durationMs = 300_000n): Lease {
  return { id: "11".repeat(16), expiresUnixMs: BigInt(Date.now() + 300_000), durationMs };
}

/** What it is asked and what it answers; a test replaces what it is about. */
class WrongKms {
  challenges = 0;
  evidences = 0;
  challenge: (right: ChallengeResponse) => ChallengeResponse = (right) => right;
  secrets: (right: UnsealSecrets) => UnsealSecrets = (right) => right;
  /** What HPKE binds the answer to. */
  bound: (right: Buffer) => Buffer = (right) => right;
  answer: (right: UnsealResponse) => UnsealResponse = (right) => right;
  renewed: () => Lease | undefined = lease;
  #reportData: Buffer = Buffer.alloc(0);

  readonly service: NodeService = {
    challenge: () => {
      this.challenges++;
      return Promise.resolve(
        this.challenge({ version: 1, nonce: randomBytes(32), expiresUnixMs: BigInt(Date.now() + 60_000) }),
      );
    },
    unseal: async ({ body }) => {
      const key = await readKemPublicKey(UnsealBody.decode(body).kemPublicKey);
      return this.answer(await wrap(key, this.bound(this.#reportData), this.secrets(good())));
    },
    renew: () => Promise.resolve({ lease: this.renewed() }),
    commit: notAsked,
    enrol: notAsked,
    release: notAsked,
  };

  readonly evidence = (reportData: Buffer) => {
    this.evidences++;
    this.#reportData = reportData;
    const nothing = Buffer.alloc(0);
    return Promise.resolve({ tee: "sev-snp", report: nothing, auxiliary: nothing, eventLog: nothing });
  };
}

describe("a KMS with the pinned key and wrong answers", () => {
  let kms: WrongKms;
  let door: Door;
  let connection: KmsConnection;
  beforeEach(async () => {
    kms = new WrongKms();
    const identity = await createIdentity("kms");
    door = await openNodeDoor("127.0.0.1:0", identity, 8, kms.service, () => undefined);
    connection = new KmsConnection({
      endpoints: [door.address],
      spkiSha256: spkiDigest(spkiOf(identity.certificate)),
      identity: await createIdentity("node"),
      tee: "sev-snp",
      agentVersion: "0.0.0-test",
      evidence: kms.evidence,
      callTimeoutMs: 5000,
    });
  });
  afterEach(async () => {
    connection.close();
    await door.close();
  });

  const unseal = () => connection.unseal({ enrolment: Buffer.alloc(1), disk: blank() }, never);

  it("is believed where its answer is right", async () => {
    using unsealed = await unseal();
    assert.deepEqual(Buffer.from(unsealed.diskKey), good().diskKey);
    assert.deepEqual(Buffer.from(unsealed.headerMacKey), good().headerMacKey);
    assert.deepEqual([kms.challenges, kms.evidences], [1, 1]);
  });

  for (const version of [0, 2, 0xffff_ffff]) {
    it(`gets no evidence for version ${version}, which this node did not offer`, async () => {
      kms.challenge = (right) => ({ ...right, version });
      await assert.rejects(unseal(), { code: "PROTOCOL_VERSION", found: String(version) });
      assert.equal(kms.evidences, 0);
    });
  }

  for (const length of [0, 31, 33, 65_536]) {
    it(`gets no evidence for a nonce of ${length} bytes`, async () => {
      kms.challenge = (right) => ({ ...right, nonce: Buffer.alloc(length) });
      await assert.rejects(unseal(), { code: "REQUEST_INVALID", predicate: "nonce" });
      assert.equal(kms.evidences, 0);
    });
  }

  it("is asked once more where it says that its nonce ran out, and not for ever", async () => {
    kms.answer = () => {
      throw new SealetError("NONCE_INVALID", "ran out");
    };
    assert.equal(await codeOf(unseal()), "NONCE_INVALID");
    assert.deepEqual([kms.challenges, kms.evidences], [2, 2]);
  });

  it("cannot give this request another one's answer", async () => {
    kms.bound = () => randomBytes(64);
    await assert.rejects(unseal(), { code: "REQUEST_INVALID", message: /not wrapped for this request/ });
  });

  it("cannot give an answer that was changed, cut or made longer at any place", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("encapsulatedKey" as const, "sealedSecrets" as const),
        fc.nat(),
        fc.constantFrom("flip" as const, "cut" as const, "grow" as const),
        async (part, at, how) => {
          kms.answer = (right) => {
            const bytes = right[part];
            const place = at % bytes.length;
            if (how === "flip") bytes[place] = (bytes[place] ?? 0) ^ (1 << (at % 8));
            const cut = how === "cut" ? bytes.subarray(0, place) : bytes;
            return { ...right, [part]: how === "grow" ? Buffer.concat([cut, Buffer.alloc(1)]) : cut };
          };
          assert.equal(await codeOf(unseal()), "REQUEST_INVALID");
        },
      ),
      { numRuns: 40 },
    );
  });

  it("cannot give an answer larger than any is", async () => {
    kms.answer = (right) => ({ ...right, sealedSecrets: Buffer.alloc(2 * 1024 * 1024) });
    assert.equal(await codeOf(unseal()), "REQUEST_INVALID");
  });

  const wrong: readonly (readonly [string, Partial<UnsealSecrets>, string])[] = [
    ["no disk key", { diskKey: Buffer.alloc(0) }, "disk_key"],
    ["a disk key of 31 bytes", { diskKey: Buffer.alloc(31) }, "disk_key"],
    ["a disk key of 64 bytes", { diskKey: Buffer.alloc(64) }, "disk_key"],
    ["no header MAC key", { headerMacKey: Buffer.alloc(0) }, "header_mac_key"],
    ["a header MAC key of 33 bytes", { headerMacKey: Buffer.alloc(33) }, "header_mac_key"],
    ["no UUID", { uuid: "" }, "uuid"],
    ["a path for a UUID", { uuid: "../../../../etc/shadow/0000-00000000" }, "uuid"],
    ["no lease", { lease: undefined }, "lease"],
    ["a lease that ended before it began", { lease: lease(-1n) }, "lease.duration_ms"],
    ["a lease of more than a day", { lease: lease(86_400_001n) }, "lease.duration_ms"],
    ["a lease without an end", { lease: lease(2n ** 63n - 1n) }, "lease.duration_ms"],
  ];
  for (const [what, change, predicate] of wrong) {
    it(`is not believed with ${what}`, async () => {
      kms.secrets = (right) => ({ ...right, ...change });
      await assert.rejects(unseal(), { code: "REQUEST_INVALID", predicate });
    });
  }

  it("cannot make a lease longer than a day by renewing it", async () => {
    for (const renewed of [undefined, lease(86_400_001n)]) {
      kms.renewed = () => renewed;
      assert.equal(await codeOf(connection.renew("11".repeat(16), never)), "REQUEST_INVALID");
    }
  });

  it("cannot wrap what is no message of keys", async () => {
    const suite = new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA512, AEAD_AES_256_GCM);
    const info = randomBytes(64);
    await fc.assert(
      fc.asyncProperty(
        // A field of wire type 7, which there is none of, and whatever comes after it.
        fc.uint8Array({ maxLength: 64 }).map((rest) => Uint8Array.of(0x0f, ...rest)),
        async (plain) => {
          const kem = await createKemKey();
          const key = await readKemPublicKey(kem.publicKey);
          const { encapsulatedSecret, ciphertext } = await suite.Seal(key, plain, { info });
          const answer = {
            encapsulatedKey: Buffer.from(encapsulatedSecret),
            sealedSecrets: Buffer.from(ciphertext),
          };
          await assert.rejects(unwrap(kem, info, answer), { code: "REQUEST_INVALID" });
        },
      ),
      { numRuns: 20 },
    );
  });
});
