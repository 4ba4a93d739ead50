/** A chip's certificate that an operator keeps: it serves whatever the host's certificate table has. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appraise } from "../../agent/attest/appraise.ts";
import { vcekQuery } from "../../agent/attest/snp/vcek-query.ts";
import { failures } from "../../agent/attest/verdict.ts";
import { PATH, readSnp, replaceFile, withKeptVcek } from "../../agent/collateral/directory.ts";
import { pem } from "../../agent/crypto/pem.ts";
import { nodeCrypto } from "../../agent/crypto/node.ts";
import { syncsOf } from "../syncs.ts";
import { MEASUREMENT, strictPolicy } from "../attest/snp/policies.ts";
import { amdCa, certificateTable, signReport } from "../twin/amd-ca.ts";

describe("collateral's directory", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-directory-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("I8 a part that is there and can't be read is refused, and not taken for none", () => {
    const ca = amdCa("Genoa");
    const chain = [ca.ask.der, ca.ark.der].map((der) => pem("CERTIFICATE", der));
    replaceFile(join(folder, PATH.chain("Genoa", "vcek")), Buffer.concat(chain));
    assert.ok(readSnp(folder, "Genoa")?.ask);
    mkdirSync(join(folder, PATH.crl("Genoa", "vcek")), { recursive: true });
    assert.throws(() => readSnp(folder, "Genoa"), { code: "CONFIG_INVALID" });
  });

  it("I10 has a part on the disk before its name, and its name before the call returns", () => {
    assert.deepEqual(
      syncsOf(() => replaceFile(join(folder, "part"), Buffer.alloc(1))),
      ["file", "rename", "folder"],
    );
  });

  it("leaves nothing of a file that can't be put in its place", () => {
    mkdirSync(join(folder, "part/inner"), { recursive: true });
    assert.throws(() => replaceFile(join(folder, "part"), Buffer.alloc(1)), { code: "STORE_FAILED" });
    assert.deepEqual(readdirSync(folder), ["part"]);
  });
});

describe("a kept VCEK", () => {
  const ca = amdCa("Genoa");
  const vek = ca.issue();
  const stale = ca.issue({ tcb: { microcode: 1 } });
  const sha256 = new Uint8Array(32).fill(2);
  const measurement = Buffer.from(MEASUREMENT, "hex");
  const reportData = new Uint8Array(64).fill(1);
  const report = signReport({ product: "Genoa", reportData, hostData: sha256, measurement }, vek);
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "sealet-kept-"));
    const query = vcekQuery(report);
    assert.ok(query.ok);
    replaceFile(join(folder, PATH.vcek(query.value)), vek.der);
  });
  after(() => rmSync(folder, { recursive: true }));

  const failed = async (auxiliary: Uint8Array, directories: readonly string[]): Promise<string[]> => {
    const evidence = { tee: "sev-snp", report, auxiliary, eventLog: new Uint8Array(0) };
    const verdict = await appraise({
      evidence,
      collateral: withKeptVcek({ snp: { Genoa: ca.collateral() } }, evidence, directories),
      policy: strictPolicy(ca),
      at: Date.parse("2026-06-01T00:00:00Z"),
      expect: { reportData, initdata: { sha256, sha384: new Uint8Array(48) } },
      crypto: nodeCrypto(),
    });
    assert.equal(verdict.accepted, failures(verdict).length === 0);
    return failures(verdict);
  };

  const tables = [
    ["no table", new Uint8Array(0), "snp.certificate"],
    ["a table of ASK and ARK", certificateTable({ ask: ca.ask.der, ark: ca.ark.der }), "snp.certificate"],
    ["a table with the VCEK of an earlier TCB", certificateTable({ vcek: stale.der }), "snp.certificate-tcb"],
  ] as const;
  for (const [what, auxiliary, code] of tables)
    it(`serves where there is ${what}; without it that is refused`, async () => {
      assert.deepEqual(await failed(auxiliary, [join(folder, "none"), folder]), []);
      assert.ok((await failed(auxiliary, [])).includes(code));
    });
});
