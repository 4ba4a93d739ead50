/** `sealet collateral`: fetched from twins of AMD's and Intel's services, bundled, and verified with, as people do it. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCertificateTable } from "../../agent/attest/snp/certificate-table.ts";
import { vcekQuery } from "../../agent/attest/snp/vcek-query.ts";
import { EXIT } from "../../agent/cli/exit.ts";
import { right } from "../attest/snp/mutants.ts";
import { ca as intel, twinPolicy, ZERO } from "../attest/tdx/twin.ts";
import { CollateralServices } from "../twin/collateral-services.ts";
import { FMSPC, pem } from "../twin/intel-ca.ts";
import { run } from "./run.ts";

const AT = "2026-06-01T00:00:00Z";
const { Genoa: amd } = right.collateral.snp;
const { report, auxiliary } = right.evidence;

/** @returns the exit code, and what was printed as JSON */
async function json(...args: string[]): Promise<{ exit: number; said: string }> {
  const { exit, out, err } = await run("-o", "json", ...args);
  return { exit, said: out + err };
}

describe("sealet collateral", () => {
  let services: CollateralServices;
  let folder: string;
  let policy: string;

  beforeEach(async () => {
    services = await CollateralServices.start();
    folder = mkdtempSync(join(tmpdir(), "sealet-collateral-cli-"));
    const { tees } = right.policy;
    assert.ok(typeof tees["sev-snp"] === "object");
    const snp = { ...tees["sev-snp"], hostData: { anyOf: ["22".repeat(32)] } };
    const tdx = twinPolicy({ mrConfigId: { anyOf: [ZERO] } });
    policy = file("policy.json", JSON.stringify({ ...right.policy, tees: { ...tees, "sev-snp": snp, tdx } }));
    serveAmd();
    services.serveIntel(FMSPC, intel.collateral());
  });
  afterEach(async () => {
    await services.stop();
    rmSync(folder, { recursive: true });
  });

  const path = (name: string): string => join(folder, name);
  function file(name: string, content: string | Uint8Array): string {
    writeFileSync(path(name), content);
    return path(name);
  }

  function serveAmd(): void {
    const query = vcekQuery(report);
    const { vcek } = parseCertificateTable(auxiliary);
    assert.ok(query.ok && vcek && amd?.ask && amd.crl);
    const { hwid, tcb } = query.value;
    services.served.set("/vcek/v1/Genoa/cert_chain", { body: Buffer.from(pem(amd.ask, amd.ark)) });
    services.served.set("/vcek/v1/Genoa/crl", { body: amd.crl });
    services.served.set(`/vcek/v1/Genoa/${hwid}?${tcb}`, { body: vcek });
  }

  const fetch = (evidence: string) => {
    const mirrors = ["--amd", services.url, "--intel", services.url, "--intel-certificates", services.url];
    return json("collateral", "fetch", evidence, "--out", path("kept"), ...mirrors);
  };
  const verify = (evidence: string, ...more: string[]) =>
    json("verify", evidence, "--policy", policy, "--at", AT, ...more);

  it("fetches what an SNP report is judged with, the chip's certificate too", async () => {
    const evidence = file("report.bin", report);
    const { exit, said } = await fetch(evidence);
    assert.equal(exit, EXIT.OK, said);
    assert.match(said, /"platform": ?"Genoa [0-9a-f]{128} blSPL=/u);
    assert.match(said, /vlek\/v1\/Genoa\/cert_chain/u, "what is not to be had is told");
    const verdict = await verify(evidence, "--collateral", path("kept"));
    assert.equal(verdict.exit, EXIT.OK, verdict.said);
    // Another chip's report finds no certificate there.
    const other = Uint8Array.from(report).fill(9, 0x1a0, 0x1e0);
    assert.equal((await verify(file("other", other), "--collateral", path("kept"))).exit, EXIT.REFUSED);
  });

  it("fetches what a TDX quote is judged with", async () => {
    const evidence = file("quote.bin", intel.quote());
    const { exit, said } = await fetch(evidence);
    assert.equal(exit, EXIT.OK, said);
    assert.match(said, new RegExp(`FMSPC ${FMSPC}, platform CA`, "u"));
    const verdict = await verify(evidence, "--collateral", path("kept"));
    assert.equal(verdict.exit, EXIT.OK, verdict.said);
  });

  it("says what is not to be had, or can't be told from the evidence", async () => {
    services.served.clear();
    const { exit, said } = await fetch(file("quote.bin", intel.quote()));
    assert.equal(exit, EXIT.UNAVAILABLE, said);
    assert.match(said, /COLLATERAL_UNAVAILABLE/u);
    const masked = file("masked", Uint8Array.from(report).fill(0, 0x1a0, 0x1e0));
    assert.match((await fetch(masked)).said, /EVIDENCE_MALFORMED.*the chip id is masked/su);
    assert.match((await fetch(file("junk", "junk"))).said, /EVIDENCE_MALFORMED/u);
    serveAmd();
    const without = await json(
      ...["collateral", "fetch", masked, "--product", "Genoa", "--out", path("kept"), "--amd", services.url],
    );
    assert.equal(without.exit, EXIT.OK, without.said);
  });

  it("packs a directory into a bundle that counts only where its signer does", async () => {
    const evidence = file("report.bin", report);
    const table = ["--certificates", file("table.bin", auxiliary)];
    await fetch(evidence);
    for (const name of ["operator", "stranger"]) await json("operator", "init", "--key", path(name));
    const bundle = path("collateral.dsse");
    const signed = ["--key", path("operator"), "--out", bundle];
    const packed = await json("collateral", "bundle", path("kept"), "--revision", "3", ...signed);
    assert.equal(packed.exit, EXIT.OK, packed.said);
    const judge = (...more: string[]) => verify(evidence, ...table, "--collateral", bundle, ...more);
    const verdict = await judge("--operator", path("operator.pub"));
    assert.equal(verdict.exit, EXIT.OK, verdict.said);
    assert.match((await judge()).said, /USAGE/u);
    assert.match((await judge("--operator", path("stranger.pub"))).said, /SIGNATURE_INVALID/u);
    const envelope = readFileSync(bundle, "latin1");
    file("collateral.dsse", envelope.replace('"payload":"ey', '"payload":"eX'));
    assert.match((await judge("--operator", path("operator.pub"))).said, /SIGNATURE_INVALID/u);
    const zero = await json("collateral", "bundle", path("kept"), "--revision", "0", ...signed);
    assert.equal(zero.exit, EXIT.USAGE);
    const device = ["--revision", "4", "--key", path("operator"), "--out", "/dev/null"];
    assert.equal((await json("collateral", "bundle", path("kept"), ...device)).exit, EXIT.OK);
    const nowhere = ["--key", path("operator"), "--out", path("none/collateral.dsse")];
    const lost = await json("collateral", "bundle", path("kept"), "--revision", "4", ...nowhere);
    assert.match(lost.said, /USAGE.*cannot be written: ENOENT/su);
  });

  it("fetches AMD's chain and list of a product before there is evidence, for a KMS's folder", async () => {
    const kept = ["--out", path("kept"), "--amd", services.url];
    const { exit, said } = await json("collateral", "fetch", "--product", "Genoa", ...kept);
    assert.equal(exit, EXIT.OK, said);
    assert.match(said, /"platform": ?"Genoa, without chips' certificates"/u);
    assert.deepEqual(readdirSync(path("kept/vcek/v1/Genoa")).toSorted(), ["cert_chain", "crl"]);
    const verdict = await verify(
      file("report.bin", report),
      ...["--certificates", file("table.bin", auxiliary), "--collateral", path("kept")],
    );
    assert.equal(verdict.exit, EXIT.OK, verdict.said);
    const { body: chain } = services.served.get("/vcek/v1/Genoa/cert_chain") ?? assert.fail();
    services.served.set("/vcek/v1/Turin/cert_chain", { body: chain });
    services.served.set("/vcek/v1/Turin/crl", { body: amd?.crl ?? assert.fail() });
    const both = await json("collateral", "fetch", "--product", "Genoa", "--product", "Turin", ...kept);
    assert.equal(both.exit, EXIT.OK, both.said);
    assert.deepEqual(readdirSync(path("kept/vcek/v1")).toSorted(), ["Genoa", "Turin"]);
    const missing = await json("collateral", "fetch", "--product", "Milan", ...kept);
    assert.match(missing.said, /COLLATERAL_UNAVAILABLE/u);
  });

  it("wants evidence or a product, and of evidence one product", async () => {
    const out = ["--out", path("kept")];
    const neither = await json("collateral", "fetch", ...out);
    assert.equal(neither.exit, EXIT.USAGE);
    assert.match(neither.said, /"code":"USAGE".*evidence.*--product/u);
    const products = ["--product", "Genoa", "--product", "Milan"];
    const two = await json("collateral", "fetch", file("report.bin", report), ...products, ...out);
    assert.match(two.said, /"code":"USAGE".*one --product/u);
    const none = await json("collateral", "fetch", "--product", "Rome", ...out);
    assert.match(none.said, /"code":"USAGE".*--product.*Milan or Genoa or Turin/u);
    assert.deepEqual(services.asked, []);
    assert.ok(!existsSync(path("kept")));
  });

  for (const option of ["--proxy", "--amd", "--intel", "--intel-certificates"])
    it(`${option} takes nothing but an http or https URL`, async () => {
      const to = (url: string) =>
        json("collateral", "fetch", "--product", "Genoa", "--out", path("kept"), option, url);
      for (const wrong of [
        ...["", "foo", "127.0.0.1:3128", "localhost:3128", "//127.0.0.1", "http:", "http:/a", "http://"],
        ...[
          "socks5://127.0.0.1:1",
          "file:///etc/passwd",
          "http://127.0.0.1:99999",
          "http://a b",
          "http://a\n",
        ],
        ...[`${services.url}/lost`, `${services.url}?lost`, `${services.url}#lost`, `${services.url}\\lost`],
      ]) {
        const { exit, said } = await to(wrong);
        assert.equal(exit, EXIT.USAGE, `${wrong}: ${said}`);
        assert.match(said, new RegExp(`"code":"USAGE".*'${option} <url>'.*http://host:port`, "u"));
      }
      assert.deepEqual(services.asked, []);
      assert.ok(!existsSync(path("kept")));
    });

  it("asks through the proxy that is named", async () => {
    services.served.set("http://kds.example/vcek/v1/Genoa/cert_chain", {
      body: services.served.get("/vcek/v1/Genoa/cert_chain")?.body ?? assert.fail(),
    });
    services.served.set("http://kds.example/vcek/v1/Genoa/crl", { body: amd?.crl ?? assert.fail() });
    const through = ["--amd", "http://kds.example", "--proxy", `${services.url}/`];
    const got = await json("collateral", "fetch", "--product", "Genoa", "--out", path("kept"), ...through);
    assert.equal(got.exit, EXIT.OK, got.said);
    assert.ok(services.asked.every((asked) => asked.startsWith("http://kds.example/")));
  });

  it("packs no bundle of nothing, nor of chips' certificates alone", async () => {
    await json("operator", "init", "--key", path("operator"));
    await fetch(file("report.bin", report));
    mkdirSync(path("empty"));
    rmSync(path("kept/vcek/v1/Genoa/cert_chain"));
    rmSync(path("kept/vcek/v1/Genoa/crl"));
    assert.equal(readdirSync(path("kept/vcek/v1/Genoa")).length, 1, "the chip's certificate");
    for (const paths of [["empty"], ["kept"], ["empty", "kept"]]) {
      const named = paths.map(path);
      const signed = ["--revision", "1", "--key", path("operator"), "--out", path("bundle")];
      const { exit, said } = await json("collateral", "bundle", ...named, ...signed);
      assert.equal(exit, EXIT.DATA, said);
      assert.match(said, /COLLATERAL_INVALID/u);
      assert.ok(said.includes(named.join(", ")), said);
      assert.ok(!existsSync(path("bundle")));
    }
    const { out } = await run("collateral", "bundle", "--help");
    assert.match(out.replaceAll(/\s+/gu, " "), /chips' certificates \(VCEKs\) are not in it/u);
  });
});
