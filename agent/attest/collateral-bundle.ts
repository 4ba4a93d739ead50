/**
 * Collateral as one signed file, for places without a network: a versioned JSON document whose DSSE envelope is opened
 * first (`openEnvelope` with `COLLATERAL_PAYLOAD_TYPE`). Every part is signed by AMD or Intel too, and is verified when it
 * is used; the operator's signature says which parts, and that they are the newest.
 */
import * as z from "zod";
import type { Collateral } from "./appraise.ts";
import { fromBase64, toBase64 } from "./base64.ts";
import { parseJson } from "./json.ts";
import { attempt, Malformed, type Result } from "./malformed.ts";
import { moment } from "./policy-fields.ts";
import { PRODUCTS } from "./snp/product.ts";
import type { SnpCollateral } from "./snp/check-chain.ts";
import { parseQeIdentity, parseTcbInfo } from "./tdx/documents.ts";
import type { SignedDocument } from "./tdx/facts.ts";
import { cutSignedJson } from "./tdx/signed-json.ts";
import type { TdxCollateral } from "./tdx/verify.ts";
import { parseCrl } from "./x509.ts";

export const COLLATERAL_PAYLOAD_TYPE = "application/vnd.sealet.collateral+json";
const MAX_BUNDLE = 16 * 1024 * 1024;

const bytes = z.base64().max(2 * 1024 * 1024);
const document = z.strictObject({ body: bytes, issuerChain: bytes });
const fmspc = z.string().regex(/^[0-9a-f]{12}$/);
const snpParts = z.strictObject({
  ark: bytes,
  ask: bytes.optional(),
  asvk: bytes.optional(),
  crl: bytes.optional(),
  vek: bytes.optional(),
});
const [milan, genoa, turin] = PRODUCTS;

const bundleSchema = z.strictObject({
  format: z.literal("sealet.collateral/v1"),
  /** Only ever higher. */
  version: z.int().min(1).max(Number.MAX_SAFE_INTEGER),
  created: moment,
  snp: z.strictObject({
    [milan]: snpParts.optional(),
    [genoa]: snpParts.optional(),
    [turin]: snpParts.optional(),
  }),
  tdx: z
    .strictObject({
      tcbInfo: z.record(fmspc, document),
      qeIdentity: document.optional(),
      rootCrl: bytes.optional(),
      pckCrl: z.strictObject({ platform: bytes.optional(), processor: bytes.optional() }),
    })
    .optional(),
});

export interface CollateralBundle {
  readonly version: number;
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly collateral: Collateral;
}

export function parseBundle(payload: Uint8Array): Result<CollateralBundle> {
  return attempt(() => {
    const what = "collateral bundle";
    if (payload.length > MAX_BUNDLE) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_BUNDLE} bytes`);
    const parsed = bundleSchema.safeParse(parseJson(payload, what));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new Malformed("UNEXPECTED", what, 0, `${issue?.path.map(String).join(".")}: ${issue?.message}`);
    }
    const { version, created, snp, tdx } = parsed.data;
    const products = Object.entries(snp).map(
      ([product, parts]) => [product, parts && decodeSnp(parts)] as const,
    );
    return {
      version,
      created,
      collateral: { snp: Object.fromEntries(products), tdx: tdx && decodeTdx(tdx) },
    };
  });
}

const decode = (text: string | undefined): Uint8Array | undefined =>
  text === undefined ? undefined : fromBase64(text);
const encode = (part: Uint8Array | undefined): string | undefined =>
  part === undefined ? undefined : toBase64(part);

function decodeSnp({ ark, ask, asvk, crl, vek }: z.infer<typeof snpParts>): SnpCollateral {
  return { ark: fromBase64(ark), ask: decode(ask), asvk: decode(asvk), crl: decode(crl), vek: decode(vek) };
}

function decodeDocument({ body, issuerChain }: z.infer<typeof document>): SignedDocument {
  return { body: fromBase64(body), issuerChain: fromBase64(issuerChain) };
}

function decodeTdx(tdx: NonNullable<z.infer<typeof bundleSchema>["tdx"]>): TdxCollateral {
  return {
    tcbInfo: new Map(Object.entries(tdx.tcbInfo).map(([name, part]) => [name, decodeDocument(part)])),
    qeIdentity: tdx.qeIdentity && decodeDocument(tdx.qeIdentity),
    rootCrl: decode(tdx.rootCrl),
    pckCrl: { platform: decode(tdx.pckCrl.platform), processor: decode(tdx.pckCrl.processor) },
  };
}

const encodeDocument = ({ body, issuerChain }: SignedDocument) => ({
  body: toBase64(body),
  issuerChain: toBase64(issuerChain),
});

/** @returns the payload to be signed */
export function encodeBundle({ version, created, collateral: { snp, tdx } }: CollateralBundle): Uint8Array {
  const products = PRODUCTS.flatMap((product) => {
    const parts = snp[product];
    if (parts === undefined) return [];
    const { ark, ask, asvk, crl, vek } = parts;
    const encoded = {
      ark: encode(ark),
      ask: encode(ask),
      asvk: encode(asvk),
      crl: encode(crl),
      vek: encode(vek),
    };
    return [[product, encoded] as const];
  });
  const bundle = {
    format: "sealet.collateral/v1",
    version,
    created,
    snp: Object.fromEntries(products),
    ...(tdx === undefined
      ? {}
      : {
          tdx: {
            tcbInfo: Object.fromEntries([...tdx.tcbInfo].map(([name, part]) => [name, encodeDocument(part)])),
            qeIdentity: tdx.qeIdentity && encodeDocument(tdx.qeIdentity),
            rootCrl: encode(tdx.rootCrl),
            pckCrl: { platform: encode(tdx.pckCrl.platform), processor: encode(tdx.pckCrl.processor) },
          },
        }),
  };
  return new TextEncoder().encode(JSON.stringify(bundle));
}

/** When each part was issued, ms since 1970, by the part's name. As the parts say: their signatures are not looked at. */
export type Issued = ReadonlyMap<string, number>;

/** Parts that have no date (certificates) or can't be read are left out. */
export function issuedTimes({ snp, tdx }: Collateral): Issued {
  const issued = new Map<string, number>();
  const note = (name: string, read: () => number | undefined): void => {
    const at = attempt(read);
    if (at.ok && at.value !== undefined) issued.set(name, at.value);
  };
  const crl = (name: string, der: Uint8Array | undefined): void => {
    note(name, () => der && parseCrl(der).thisUpdate);
  };
  for (const product of PRODUCTS) crl(`snp.crl.${product}`, snp[product]?.crl);
  if (tdx === undefined) return issued;
  crl("tdx.root-crl", tdx.rootCrl);
  crl("tdx.pck-crl.platform", tdx.pckCrl.platform);
  crl("tdx.pck-crl.processor", tdx.pckCrl.processor);
  for (const [name, { body }] of tdx.tcbInfo)
    note(`tdx.tcb-info.${name}`, () => parseTcbInfo(cutSignedJson(body, "tcbInfo").body).issueDate);
  const { qeIdentity } = tdx;
  note(
    "tdx.qe-identity",
    () => qeIdentity && parseQeIdentity(cutSignedJson(qeIdentity.body, "enclaveIdentity").body).issueDate,
  );
  return issued;
}

/**
 * How far a part may be ahead of the clock that it is taken in by. Clocks that are kept differ by seconds, one that drifts
 * by minutes; more than that is no clock's error. A verifier takes none of it before its time anyhow.
 */
const ISSUE_SKEW_MS = 10 * 60 * 1000;

/**
 * Whether nobody can have issued it yet. INVARIANT (I5): such a date is never remembered, for its signature was not looked
 * at: what is genuine would count as rolled back from then on.
 * @param now ms since 1970
 */
export function isAhead(issued: number, now: number): boolean {
  return issued > now + ISSUE_SKEW_MS;
}

/** Which parts are older than what was seen before; invariant I5. */
export function rolledBack(seen: Issued, now: Issued): string[] {
  return [...now].flatMap(([name, at]) => (at < (seen.get(name) ?? at) ? [name] : []));
}

/** The newest of both, part by part: what is to be remembered. */
export function newest(seen: Issued, now: Issued): Issued {
  const merged = new Map(seen);
  for (const [name, at] of now) merged.set(name, Math.max(at, seen.get(name) ?? at));
  return merged;
}
