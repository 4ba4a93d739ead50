/** `sealet verify` and `sealet explain` on genuine artefacts, through the program itself. */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evidenceReportData } from "../../agent/attest/report-data.ts";
import { EXIT } from "../../agent/cli/exit.ts";
import { explain } from "../../agent/cli/explain.ts";
import { frameInitdata } from "../../agent/config/initdata-disk.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { pem } from "../../agent/crypto/pem.ts";
import { genuinePolicy } from "../attest/snp/policies.ts";
import { vector } from "../attest/vectors.ts";
import { twinCa, vcek } from "../kms/cluster.ts";
import { signReport } from "../twin/amd-ca.ts";
import { run } from "./run.ts";

const VECTORS = join(import.meta.dirname, "..", "vectors");
const path = (name: string): string => join(VECTORS, name);

describe("sealet verify", () => {
  let folder: string;
  let common: string[];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-verify-"));
    const amd = join(folder, "amd");
    mkdirSync(join(amd, "vcek/v1/Milan"), { recursive: true });
    writeFileSync(join(amd, "vcek/v1/Milan/cert_chain"), vector("go-sev-guest/trust/ask_ark_milan.pem"));
    const policy = join(folder, "policy.json");
    writeFileSync(policy, JSON.stringify(genuinePolicy("Milan")));
    common = ["--policy", policy, "--collateral", amd, "--at", "2025-01-01T00:00:00Z"];
  });
  after(() => rmSync(folder, { recursive: true }));

  const good = ["verify", path("trustee/snp/test-report.bin"), "--vek", path("trustee/snp/test-vcek.der")];
  const debug = [
    "verify",
    path("go-sev-guest/verify-testdata/attestation.bin"),
    "--vek",
    path("go-sev-guest/verify-testdata/vcek.testcer"),
  ];

  it("accepts, and shows each predicate", async () => {
    const { exit, out } = await run(...good, ...common);
    assert.equal(exit, EXIT.OK);
    assert.match(out, /^ACCEPTED {2}sev-snp/);
    assert.match(out, /✓ +snp\.report-signature/);
    assert.match(out, /– +snp\.measurement +not checked: not this test's point/);
  });

  it("refuses with the exit code of a refusal, and says what was expected and found", async () => {
    const { exit, out, err } = await run(...debug, ...common);
    assert.equal(exit, EXIT.REFUSED);
    assert.match(out, /✗ snp\.guest-policy\n +expected +debug clear\n +found +debug set/);
    assert.match(err, /EVIDENCE_REFUSED/);
  });

  it("prints JSON, and an attestation result", async () => {
    const verdict: unknown = JSON.parse((await run("-o", "json", ...good, ...common)).out);
    assert.ok(
      typeof verdict === "object" && verdict !== null && "predicates" in verdict && "claims" in verdict,
    );
    const ear: unknown = JSON.parse((await run("-o", "json", ...good, ...common, "--ear")).out);
    assert.ok(typeof ear === "object" && ear !== null && "eat_profile" in ear);
  });

  it("checks report data where it is given", async () => {
    const { exit, out } = await run(...good, ...common, "--report-data", "00".repeat(64));
    assert.equal(exit, EXIT.REFUSED);
    assert.match(out, /✗ snp\.report-data/);
    assert.equal((await run(...good, ...common, "--report-data", "00")).exit, EXIT.USAGE);
  });

  it("checks the nonce that evidence was asked for, and says so where it can't", async () => {
    const nonce = Buffer.from("a nonce of mine");
    const reportData = Buffer.from(await evidenceReportData(nodeCrypto(), nonce));
    const report = Buffer.from(signReport({ product: "Genoa", reportData }, vcek));
    const file = join(folder, "fresh.bin");
    writeFileSync(file, report);
    const vek = join(folder, "vcek.der");
    writeFileSync(vek, vcek.der);
    const { ask, ark } = twinCa.collateral();
    const policy = join(folder, "genoa.json");
    writeFileSync(policy, JSON.stringify(genuinePolicy("Genoa")));
    const chain = join(folder, "twin/vcek/v1/Genoa");
    mkdirSync(chain, { recursive: true });
    writeFileSync(join(chain, "cert_chain"), Buffer.concat([ask, ark].map((der) => pem("CERTIFICATE", der))));
    const twin = ["--policy", policy, "--vek", vek, "--collateral", join(folder, "twin")];
    const asked = (hex: string) => run("verify", file, ...twin, "--nonce", hex);
    assert.match((await asked(nonce.toString("hex"))).out, /✓ +snp\.report-data/);
    assert.match((await asked("00")).out, /✗ snp\.report-data/);
    assert.equal((await run(...good, ...common, "--nonce", "0g")).exit, EXIT.USAGE);
    assert.equal((await run(...good, ...common, "--nonce", "00", "--report-data", "00")).exit, EXIT.USAGE);
    assert.match((await run(...good, ...common)).err, /may be old evidence/);
  });

  it("takes initdata as a node gets it, or the document alone", async () => {
    const policy = join(folder, "bound.json");
    writeFileSync(
      policy,
      JSON.stringify({ ...genuinePolicy("Milan", (open) => ({ ...open, hostData: "initdata" })) }),
    );
    const document = Buffer.from("a document");
    const files = { "document.toml": document, "image.img": frameInitdata(document) };
    for (const [name, bytes] of Object.entries(files)) {
      writeFileSync(join(folder, name), bytes);
      const { out } = await run(...good, ...common, "--policy", policy, "--initdata", join(folder, name));
      assert.match(out, new RegExp(`✗ snp\\.host-data\n +expected +${hash("sha256", document)}`, "u"));
    }
  });

  it("judges evidence as JSON", async () => {
    const file = join(folder, "evidence.json");
    const report = Buffer.from(vector("trustee/snp/test-report.bin")).toString("hex");
    writeFileSync(file, JSON.stringify({ tee: "sev-snp", report }));
    assert.equal((await run("verify", file, ...good.slice(2), ...common)).exit, EXIT.OK);
    writeFileSync(file, JSON.stringify({ tee: "sev-snp", report: "xyz" }));
    assert.match((await run("verify", file, ...common)).err, /EVIDENCE_MALFORMED.*report/);
  });

  it("judges a TDX quote with Intel's collateral from a file", async () => {
    const quote = path("dcap-qvl/sample/tdx_quote");
    const { exit, out } = await run(
      "verify",
      quote,
      ...common,
      "--collateral",
      path("dcap-qvl/sample/tdx_quote_collateral.json"),
    );
    assert.equal(exit, EXIT.REFUSED);
    assert.match(out, /evidence\.tee/);
  });

  const WRONG: readonly (readonly [what: string, args: readonly string[], err: RegExp])[] = [
    ["a file that is no evidence", [path("INDEX.md")], /EVIDENCE_MALFORMED/],
    ["a file that is not there", ["/nonexistent"], /USAGE.*cannot be read/],
    [
      "a time that is none",
      [path("trustee/snp/test-report.bin"), "--at", "soon"],
      /USAGE.*'soon' is no time/,
    ],
    [
      "a policy that is none",
      [path("trustee/snp/test-report.bin"), "--policy", path("dcap-qvl/near/quote_collateral.json")],
      /POLICY_INVALID.*schema/,
    ],
    [
      "collateral that is none",
      [path("trustee/snp/test-report.bin"), "--collateral", path("INDEX.md")],
      /CONFIG_INVALID.*no collateral/,
    ],
    [
      "a VEK that is none",
      [path("trustee/snp/test-report.bin"), "--vek", path("trustee/snp/test-report.bin")],
      /CONFIG_INVALID.*neither DER nor PEM/,
    ],
  ];
  for (const [what, args, err] of WRONG)
    it(`refuses ${what}`, async () => {
      const found = await run("verify", ...common, ...args);
      assert.notEqual(found.exit, EXIT.OK);
      assert.match(found.err, err);
    });
});

describe("sealet explain", () => {
  const FILES: readonly (readonly [file: string, kind: RegExp, says: RegExp])[] = [
    ["trustee/snp/test-vlek-report.bin", /SEV-SNP/, /tcb\.reported\.microcode +217/],
    ["trustee/snp/test-report.bin", /SEV-SNP/, /version +2/],
    ["dcap-qvl/sample/tdx_quote", /TDX quote/, /quoteVersion +4/],
    ["virtee-sev/certs_data/vcek_turin.der", /certificate/, /issuer +SEV-Turin/],
    ["trustee/snp/chains/milan_ask_ark_asvk.pem", /certificates/, /certificates\.2\.subject +SEV-VLEK-Milan/],
    ["virtee-sev/builtin/milan-ark.pem", /certificate/, /key +RSA 4096/],
    ["x-automata-dcap/0825/platform_crl.der", /revocation list/, /revoked\.43/],
  ];
  for (const [file, kind, says] of FILES)
    it(file, async () => {
      const { exit, out } = await run("explain", path(file));
      assert.equal(exit, EXIT.OK);
      assert.match(out, kind);
      assert.match(out, says);
    });

  it("says where bytes are wrong", async () => {
    const { exit, err } = await run("explain", path("INDEX.md"));
    assert.notEqual(exit, EXIT.OK);
    assert.match(err, /EVIDENCE_MALFORMED/);
    await assert.rejects(explain(Uint8Array.of(0x30, 0x03, 0x02, 0x01)), { code: "EVIDENCE_MALFORMED" });
  });
});
