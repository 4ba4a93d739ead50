/**
 * `agent/attest` runs where there is no Node: its bundle names no built-in module, and it works with neither `Buffer` nor
 * `process`.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createContext, Script } from "node:vm";
import { build } from "esbuild";

const ATTEST = join(import.meta.dirname, "..", "..", "agent", "attest");

const files = readdirSync(ATTEST, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".ts"),
);

describe("agent/attest is pure", () => {
  for (const file of files)
    it(`${file} has no I/O, no clock, no environment`, () => {
      const code = readFileSync(join(ATTEST, file), "utf8").replace(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
      assert.doesNotMatch(
        code,
        /from "node:|require\(|\bBuffer\b|\bprocess\.|Date\.now|new Date\(\)|\bfetch\(|Math\.random|performance\./,
      );
      // of a Node buffer `slice` is a view: what has to be a copy is made with `new Uint8Array`
      assert.doesNotMatch(code, /\.slice\(\)/);
      // the named import brings all languages of zod's messages into the bundle
      assert.doesNotMatch(code, /import \{ z \} from "zod"/);
      // imports point down: nothing of the agent's other folders
      for (const [, path = ""] of code.matchAll(/from "(\.[^"]*)"/g))
        assert.ok(!path.startsWith("../../.."), path);
    });

  it("bundles for a browser, and judges there", async () => {
    const { outputFiles } = await build({
      stdin: {
        contents: `export * from "./appraise.ts"; export * from "./policy.ts"; export * from "./webcrypto.ts";`,
        resolveDir: ATTEST,
        loader: "ts",
      },
      bundle: true,
      write: false,
      minify: true,
      format: "iife",
      globalName: "sealet",
      platform: "browser",
      target: "es2022",
    });
    const text = outputFiles[0]?.text ?? "";
    assert.doesNotMatch(text, /require\("|node:/);
    assert.ok(text.length < 300_000, `${text.length} bytes`);
    // a context has the language and what is given to it, and nothing of Node's
    const { crypto, TextEncoder, TextDecoder, URL } = globalThis;
    const context = createContext({ crypto, TextEncoder, TextDecoder, URL });
    new Script(text).runInContext(context);
    const answer: unknown = await new Script(`(async () => {
      const { appraise, parsePolicy, webCrypto } = sealet;
      const parsed = parsePolicy(new TextEncoder().encode("{}"));
      const denied = { schema: "sealet.policy/v1", version: 1, description: "", tees: { "sev-snp": "denied", tdx: "denied" } };
      const none = new Uint8Array(0);
      const verdict = await appraise({
        evidence: { tee: "sev-snp", report: none, auxiliary: none, eventLog: none },
        collateral: { snp: {} }, policy: denied, at: 0, expect: { reportData: none }, crypto: webCrypto(),
      });
      return JSON.stringify({ ok: parsed.ok, accepted: verdict.accepted, codes: verdict.predicates.map((p) => p.code) });
    })()`).runInContext(context);
    assert.equal(answer, JSON.stringify({ ok: false, accepted: false, codes: ["evidence.tee"] }));
  });
});
