/** Several `--collateral` paths: each adds what it has, and takes away nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hex } from "../../agent/attest/bytes.ts";
import type { SignedDocument } from "../../agent/attest/tdx/facts.ts";
import { readCollateral } from "../../agent/cli/collateral-files.ts";
import { PATH, replaceFile } from "../../agent/collateral/directory.ts";
import { ca as intel } from "../attest/tdx/twin.ts";
import { vector } from "../attest/vectors.ts";
import { amdCa } from "../twin/amd-ca.ts";
import { defaultTcbInfo, FMSPC, pem } from "../twin/intel-ca.ts";

const OTHER_FMSPC = "00806f050000";
const none = new Uint8Array(0);

function document(directory: string, path: string, { body, issuerChain }: SignedDocument): void {
  replaceFile(join(directory, path), body);
  replaceFile(join(directory, PATH.issuerChain(path)), issuerChain);
}

const crlOf = async (...paths: string[]): Promise<string> =>
  hex((await readCollateral(paths)).snp.Genoa?.crl ?? none);

describe("collateral of several paths", () => {
  const genoa = amdCa("Genoa");
  const [crl, newerCrl] = [genoa.crl(), genoa.crl({ thisUpdate: new Date("2026-02-01T00:00:00Z") })];
  const { tcbInfo, qeIdentity, rootCrl, pckCrl } = intel.collateral();
  const info = tcbInfo.get(FMSPC);
  const otherInfo = intel.sign("tcbInfo", defaultTcbInfo(OTHER_FMSPC));
  const chain = (signer: Uint8Array): Uint8Array => Buffer.from(pem(signer, genoa.ark.der));
  let folder: string;
  let one: string;
  let two: string;

  before(() => {
    assert.ok(info && qeIdentity && rootCrl && pckCrl.platform && pckCrl.processor);
    folder = mkdtempSync(join(tmpdir(), "sealet-paths-"));
    one = join(folder, "one");
    two = join(folder, "two");
    replaceFile(join(one, PATH.chain("Genoa", "vcek")), chain(genoa.ask.der));
    replaceFile(join(one, PATH.crl("Genoa", "vcek")), crl);
    document(one, PATH.tcbInfo(FMSPC), info);
    document(one, PATH.qeIdentity, qeIdentity);
    replaceFile(join(one, PATH.pckCrl("platform")), pckCrl.platform);
    const milan = vector("go-sev-guest/trust/ask_ark_milan.pem");
    replaceFile(join(two, PATH.chain("Milan", "vcek")), milan);
    replaceFile(join(two, PATH.chain("Genoa", "vlek")), chain(genoa.asvk.der));
    document(two, PATH.tcbInfo(OTHER_FMSPC), otherInfo);
    replaceFile(join(two, PATH.pckCrl("processor")), pckCrl.processor);
    replaceFile(join(two, PATH.rootCrl), rootCrl);
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const [order, reversed] of [
    ["in one order", false],
    ["in the other", true],
  ] as const)
    it(`has the parts of each, ${order}`, async () => {
      const { snp, tdx } = await readCollateral(reversed ? [two, one] : [one, two]);
      assert.ok(snp.Milan?.ask);
      assert.equal(snp.Turin, undefined);
      const { ark, ask = none, asvk = none, crl: list = none } = snp.Genoa ?? assert.fail("no Genoa");
      const right = [genoa.ark.der, genoa.ask.der, genoa.asvk.der, crl];
      assert.deepEqual([ark, ask, asvk, list].map(hex), right.map(hex));
      assert.ok(tdx);
      assert.deepEqual(
        tdx.tcbInfo,
        new Map([
          [FMSPC, info],
          [OTHER_FMSPC, otherInfo],
        ]),
      );
      assert.deepEqual([tdx.qeIdentity, tdx.rootCrl, tdx.pckCrl], [qeIdentity, rootCrl, pckCrl]);
    });

  it("takes a part that both have from the later one", async () => {
    const three = join(folder, "three");
    replaceFile(join(three, PATH.chain("Genoa", "vcek")), chain(genoa.ask.der));
    replaceFile(join(three, PATH.crl("Genoa", "vcek")), newerCrl);
    assert.equal(await crlOf(one, three), hex(newerCrl));
    assert.equal(await crlOf(three, one), hex(crl));
    assert.equal((await readCollateral([three])).tdx, undefined);
  });
});
