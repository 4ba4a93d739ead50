/** A refused envelope is quoted in logs: whoever wrote it does not say how long they become. */
import assert from "node:assert/strict";
import { openEnvelope } from "../../agent/attest/dsse.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";

describe("DSSE, what a refusal quotes", () => {
  const long = "x".repeat(1_000_000);
  const good = { payload: "", payloadType: "type", signatures: [{ keyid: "k", sig: "" }] };
  const HOSTILE: readonly (readonly [what: string, envelope: object, why: RegExp])[] = [
    ["an unknown key", { ...good, [long]: 1 }, /^unknown key "x{79}$/],
    ["the payload's type", { ...good, payloadType: long }, /^payload type is "x{80}", not "type"$/],
    ["a key's name", { ...good, signatures: [{ keyid: long, sig: "" }] }, /\(signed by x{80}\)$/],
  ];
  for (const [what, envelope, why] of HOSTILE)
    it(`${what}: 80 characters of it`, async () => {
      const bytes = new TextEncoder().encode(JSON.stringify(envelope));
      const opened = await openEnvelope(nodeCrypto(), bytes, "type", []);
      assert.ok(!opened.ok);
      assert.match(opened.why, why);
    });
});
