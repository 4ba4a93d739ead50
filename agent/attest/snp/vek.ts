/**
 * VCEK and VLEK certificates: AMD's extensions by object identifier, each exactly once, none unknown (AMD 57230, §3).
 */
import { Der, TAG } from "../der.ts";
import { Malformed } from "../malformed.ts";
import { commonName, type Certificate, type Extension } from "../x509.ts";
import { hasComponent, productOfName, type Product, type Tcb } from "./product.ts";
import type { Signer } from "./report.ts";

const ARC = "1.3.6.1.4.1.3704.1";
const ID = {
  structVersion: `${ARC}.1`,
  product: `${ARC}.2`,
  bootloader: `${ARC}.3.1`,
  tee: `${ARC}.3.2`,
  snp: `${ARC}.3.3`,
  spl4: `${ARC}.3.4`,
  spl5: `${ARC}.3.5`,
  spl6: `${ARC}.3.6`,
  spl7: `${ARC}.3.7`,
  microcode: `${ARC}.3.8`,
  fmc: `${ARC}.3.9`,
  hwid: `${ARC}.4`,
  cspId: `${ARC}.5`,
} as const;
const KNOWN: ReadonlySet<string> = new Set(Object.values(ID));

export interface Vek {
  readonly certificate: Certificate;
  readonly signer: Signer;
  readonly product: Product;
  readonly productName: string;
  readonly tcb: Tcb;
  /** 64 bytes, Turin 8; VCEK only. */
  readonly hwid: Uint8Array | undefined;
  /** VLEK only. */
  readonly cspId: string | undefined;
}

const READ = new WeakMap<Certificate, Vek>();

/** @throws Malformed */
export function readVek(certificate: Certificate): Vek {
  // the same certificate object says the same for ever
  const known = READ.get(certificate);
  if (known !== undefined) return known;
  const vek = read(certificate);
  READ.set(certificate, vek);
  return vek;
}

function read(certificate: Certificate): Vek {
  const what = "VEK certificate";
  const fail = (code: Malformed["code"], why: string): never => {
    throw new Malformed(code, what, 0, why);
  };
  const { extensions, publicKey } = certificate;
  for (const { oid, critical } of extensions.values()) {
    if (critical) fail("UNSUPPORTED", `critical extension ${oid}`);
    if (oid.startsWith(`${ARC}.`) && !KNOWN.has(oid))
      fail("UNSUPPORTED", `unknown extension ${oid} of AMD's`);
  }
  const name = commonName(certificate.subject);
  const signer =
    name === "SEV-VCEK" ? "VCEK" : name === "SEV-VLEK" ? "VLEK" : fail("UNEXPECTED", `subject ${name}`);
  if (publicKey.kind !== "p384") fail("UNEXPECTED", `public key is ${publicKey.kind}, not P-384`);
  const { serial } = certificate;
  if (serial.length !== 1 || serial[0] !== 0) fail("UNEXPECTED", "serial number is not 0");

  const required = (oid: string, label: string): Extension =>
    extensions.get(oid) ?? fail("MISSING", `extension ${oid} (${label})`);
  const absent = (oid: string, label: string): void => {
    if (extensions.has(oid)) fail("UNEXPECTED", `extension ${oid} (${label}) in a ${signer}`);
  };

  const productName = text(required(ID.product, "product"), "product");
  const product = productOfName(productName) ?? fail("UNSUPPORTED", `product "${productName}"`);
  const structVersion = number(required(ID.structVersion, "structVersion"), "structVersion");
  const withFmc = hasComponent(product, "fmc");
  if (structVersion !== (withFmc ? 1 : 0))
    fail("UNSUPPORTED", `structVersion ${structVersion} of ${product}`);

  const spl = (oid: string, label: string): number => {
    const value = number(required(oid, label), label);
    return value <= 255 ? value : fail("UNEXPECTED", `${label} is over 255`);
  };
  // where present, reserved components are zero; Turin's layout has no spl4
  for (const oid of [ID.spl4, ID.spl5, ID.spl6, ID.spl7])
    if (extensions.has(oid) && spl(oid, "reserved SPL") !== 0)
      fail("UNEXPECTED", `extension ${oid} is not 0`);
  if (withFmc) absent(ID.spl4, "spl4");
  else absent(ID.fmc, "fmc");
  const tcb: Tcb = {
    fmc: withFmc ? spl(ID.fmc, "fmc") : 0,
    bootloader: spl(ID.bootloader, "bootloader"),
    tee: spl(ID.tee, "tee"),
    snp: spl(ID.snp, "snp"),
    microcode: spl(ID.microcode, "microcode"),
  };

  let hwid: Uint8Array | undefined;
  let cspId: string | undefined;
  if (signer === "VCEK") {
    absent(ID.cspId, "CSP id");
    // raw bytes, without an OCTET STRING of its own
    hwid = required(ID.hwid, "HWID").value;
    const size = product === "Turin" ? 8 : 64;
    if (hwid.length !== size) fail("UNEXPECTED", `HWID is of ${hwid.length} bytes, not ${size}`);
  } else {
    absent(ID.hwid, "HWID");
    cspId = text(required(ID.cspId, "CSP id"), "CSP id");
  }
  return { certificate, signer, product, productName, tcb, hwid, cspId };
}

function number({ value }: Extension, label: string): number {
  const outer = new Der(value, label);
  const found = outer.small(label);
  outer.close(label);
  return found;
}

/** IA5String (UTF8String is accepted: it is the same for ASCII), printable ASCII only. */
function text({ value }: Extension, label: string): string {
  const outer = new Der(value, label);
  const body = outer.primitive(outer.peek() === TAG.utf8String ? TAG.utf8String : TAG.ia5String, label);
  outer.close(label);
  if (body.length === 0 || body.length > 256)
    throw new Malformed("TOO_LARGE", label, 0, `${body.length} characters`);
  if (body.some((byte) => byte < 0x20 || byte > 0x7e))
    throw new Malformed("ENCODING", label, 0, "not printable ASCII");
  return String.fromCharCode(...body);
}
