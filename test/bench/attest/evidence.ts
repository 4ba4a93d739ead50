/**
 * What every contestant is given. SNP: a report of the twin's Genoa, byte for byte as AMD's, since no CRL of AMD's own is
 * among the vectors. TDX: a genuine quote with Intel's collateral of its time.
 */
import { utf8 } from "../../../agent/attest/bytes.ts";
import { parseCertificateTable } from "../../../agent/attest/snp/certificate-table.ts";
import { parseQuote } from "../../../agent/attest/tdx/quote.ts";
import { parsePemCertificates } from "../../../agent/attest/x509.ts";
import { right } from "../../attest/snp/mutants.ts";
import { GENUINE, vector } from "../../attest/tdx/genuine.ts";
import type { SnpSample, TdxSample } from "../../differential/requests.ts";

const none = new Uint8Array(0);
const pckCrlChain = utf8(vector("go-tdx-guest/testdata/pckCrlIssuerChain.pem"), "chain");
const quote = vector("dcap-qvl/near/quote.bin");

export const tdx: TdxSample & { readonly reportData: Uint8Array } = {
  from: "bench",
  quote,
  collateral: GENUINE.near,
  at: Date.parse("2025-09-15"),
  root: parsePemCertificates(pckCrlChain, "chain").at(-1)?.der ?? none,
  pckCrlChain,
  reportData: parseQuote(quote).td.fields.reportData.slice(),
};

const { ark = none, ask = none, asvk = none } = right.collateral.snp.Genoa ?? {};

export const snp: SnpSample = {
  from: "bench",
  product: "Genoa",
  at: right.at,
  report: right.evidence.report,
  vek: parseCertificateTable(right.evidence.auxiliary).vcek ?? none,
  vlek: false,
  chain: { ark, ask, asvk },
};
