/** What peers are asked, as they read it: field names are the programs', bytes are base64. */
import type { TdxCollateral } from "../../agent/attest/tdx/verify.ts";
import type { Product } from "../../agent/attest/snp/product.ts";

export interface SnpSample {
  readonly from: string;
  readonly product: Product;
  /** ms since 1970 */
  readonly at: number;
  readonly report: Uint8Array;
  readonly vek: Uint8Array;
  readonly vlek: boolean;
  readonly chain: { readonly ark: Uint8Array; readonly ask: Uint8Array; readonly asvk: Uint8Array };
}

export interface TdxSample {
  readonly from: string;
  readonly quote: Uint8Array;
  readonly collateral: TdxCollateral;
  /** ms since 1970 */
  readonly at: number;
  readonly root: Uint8Array;
  readonly pckCrlChain: string;
}

export interface Bench {
  readonly seconds: number;
  /** The VEK is known already: SNP peers. */
  readonly warm?: boolean;
  /** Without collateral: go-tdx-guest. */
  readonly bare?: boolean;
}

const base64 = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("base64");
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex");
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("utf8");
const seconds = (at: number): number => Math.floor(at / 1000);

const benchField = (bench: Bench | undefined): object =>
  bench === undefined
    ? {}
    : { Bench: { Seconds: bench.seconds, Warm: bench.warm ?? false, Bare: bench.bare ?? false } };

export function snpRequest({ product, at, report, vek, vlek, chain }: SnpSample, bench?: Bench): string {
  return JSON.stringify({
    Product: product,
    At: seconds(at),
    Report: base64(report),
    Vek: base64(vek),
    Vlek: vlek,
    Ark: base64(chain.ark),
    Ask: base64(chain.ask),
    Asvk: base64(chain.asvk),
    ...benchField(bench),
  });
}

/** `{"name":{...},"signature":"..."}` in two. */
function split(body: string): readonly [object: string, signature: string] {
  const from = body.indexOf(":{");
  const to = body.lastIndexOf(',"signature":"');
  return from < 0 || to < 0
    ? ["", ""]
    : [body.slice(from + 1, to), /[0-9a-f]*/iu.exec(body.slice(to + 14))?.[0] ?? ""];
}

export function tdxRequest({ quote, collateral, at, root, pckCrlChain }: TdxSample, bench?: Bench): string {
  const { tcbInfo, qeIdentity, rootCrl, pckCrl } = collateral;
  const [info] = tcbInfo.values();
  const [infoObject, infoSignature] = split(text(info?.body));
  const [identityObject, identitySignature] = split(text(qeIdentity?.body));
  return JSON.stringify({
    At: seconds(at),
    Quote: base64(quote),
    Root: base64(root),
    // as Intel's service answers: go-tdx-guest
    TcbInfo: Object.fromEntries(
      [...tcbInfo].map(([fmspc, { body, issuerChain }]) => [
        fmspc,
        { Body: base64(body), Chain: base64(issuerChain) },
      ]),
    ),
    QeIdentity: { Body: base64(qeIdentity?.body), Chain: base64(qeIdentity?.issuerChain) },
    RootCrl: base64(rootCrl),
    PckCrl: base64(pckCrl.platform),
    PckCrlChain: base64(Buffer.from(pckCrlChain)),
    // as dcap-qvl and its port to JavaScript have it
    Collateral: {
      pck_crl_issuer_chain: pckCrlChain,
      root_ca_crl: hex(rootCrl),
      pck_crl: hex(pckCrl.platform),
      tcb_info_issuer_chain: text(info?.issuerChain),
      tcb_info: infoObject,
      tcb_info_signature: infoSignature,
      qe_identity_issuer_chain: text(qeIdentity?.issuerChain),
      qe_identity: identityObject,
      qe_identity_signature: identitySignature,
    },
    ...benchField(bench),
  });
}
