/**
 * AMD's certificate authority and secure processor as a twin: ARK, ASK, ASVK, VCEK, VLEK and CRL with AMD's names,
 * algorithms (RSA-4096, PSS with SHA-384) and extensions, and reports that are signed byte-exactly. A policy has to name
 * the twin's root; no release policy does. Runs alone, without mocha.
 *
 * RSA keys of 4096 bits take seconds: they are made once and kept in `dir`.
 */
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { GUID, guidBytes, type CertificateKind } from "../../agent/attest/snp/certificate-table.ts";
import { encodeTcb, type Product, type Tcb } from "../../agent/attest/snp/product.ts";
import { REPORT, REPORT_SIZE, SIGNED_SIZE, type Report } from "../../agent/attest/snp/report.ts";
import * as der from "./der.ts";

const AMD = "1.3.6.1.4.1.3704.1";
const YEAR = 365.25 * 24 * 3600 * 1000;

export interface Issued {
  readonly der: Uint8Array;
  readonly key: KeyObject;
}

interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** What a VCEK or VLEK is issued for; all of it may be wrong on purpose. */
export interface VekOptions {
  readonly kind?: "VCEK" | "VLEK";
  readonly tcb?: Partial<Tcb>;
  /** 64 bytes (Turin: 8); VCEK only. */
  readonly hwid?: Uint8Array;
  /** VLEK only. */
  readonly cspId?: string;
  readonly productName?: string;
  readonly structVersion?: number;
  readonly validity?: Validity;
  readonly key?: KeyObject;
  /** Sees the list of encoded extensions, and says which there shall be. */
  readonly extensions?: (list: Uint8Array[]) => Uint8Array[];
  readonly subject?: string;
  readonly issuer?: string;
  readonly serial?: number;
  /** Signs with another key than the issuer's. */
  readonly signWith?: KeyObject;
}

export interface Vek extends Issued {
  readonly kind: "VCEK" | "VLEK";
  readonly hwid: Uint8Array;
  readonly tcb: Tcb;
}

export interface CrlOptions {
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  /** Serial numbers; ASK and ASVK of this CA are `SERIAL.ask` and `SERIAL.asvk`. */
  readonly revoked?: readonly number[];
  readonly signWith?: KeyObject;
}

export const SERIAL = { ark: 0x10000, ask: 0x10001, asvk: 0x10101 } as const;

const ZERO_TCB: Tcb = { fmc: 0, bootloader: 0, tee: 0, snp: 0, microcode: 0 };

/** Meets the minima that sealet ships. */
export const GOOD_TCB: Readonly<Record<Product, Tcb>> = {
  Milan: { fmc: 0, bootloader: 4, tee: 0, snp: 27, microcode: 222 },
  Genoa: { fmc: 0, bootloader: 12, tee: 0, snp: 28, microcode: 90 },
  Turin: { fmc: 1, bootloader: 3, tee: 1, snp: 5, microcode: 80 },
};

/** CPUID family, model, stepping of each line. */
const CPUID: Readonly<Record<Product, readonly [number, number, number]>> = {
  Milan: [0x19, 0x01, 1],
  Genoa: [0x19, 0x11, 1],
  Turin: [0x1a, 0x02, 1],
};

const CERTIFICATE_PRODUCT: Readonly<Record<Product, string>> = {
  Milan: "Milan-B0",
  Genoa: "Genoa-B1",
  Turin: "Turin",
};

const attribute = (id: string, value: Uint8Array): Uint8Array => der.set(der.sequence(der.oid(id), value));

function name(commonName: string): Uint8Array {
  return der.sequence(
    attribute("2.5.4.11", der.utf8("Engineering")),
    attribute("2.5.4.6", der.printable("US")),
    attribute("2.5.4.7", der.utf8("Santa Clara")),
    attribute("2.5.4.8", der.utf8("CA")),
    attribute("2.5.4.10", der.utf8("Advanced Micro Devices")),
    attribute("2.5.4.3", der.utf8(commonName)),
  );
}

const SHA384 = der.sequence(der.oid("2.16.840.1.101.3.4.2.2"), der.nul());

/** AMD's older certificates encode the default trailerField; its newer ones, and VEKs, do not. */
function pssAlgorithm(trailer: boolean): Uint8Array {
  return der.sequence(
    der.oid("1.2.840.113549.1.1.10"),
    der.sequence(
      der.context(0, SHA384),
      der.context(1, der.sequence(der.oid("1.2.840.113549.1.1.8"), SHA384)),
      der.context(2, der.integer(48)),
      ...(trailer ? [der.context(3, der.integer(1))] : []),
    ),
  );
}

function signPss(tbs: Uint8Array, algorithm: Uint8Array, key: KeyObject): Uint8Array {
  const signature = sign("sha384", tbs, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 });
  return der.sequence(tbs, algorithm, der.bitString(signature));
}

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: "der", type: "spki" });

interface CertificateFields {
  readonly serial: number;
  readonly issuer: string;
  readonly subject: string;
  readonly validity: Validity;
  readonly key: KeyObject;
  readonly signer: KeyObject;
  readonly trailer: boolean;
  readonly extensions: readonly Uint8Array[];
}

function certificate(fields: CertificateFields): Uint8Array {
  const algorithm = pssAlgorithm(fields.trailer);
  const tbs = der.sequence(
    der.context(0, der.integer(2)),
    der.integer(fields.serial),
    algorithm,
    name(fields.issuer),
    der.sequence(der.time(fields.validity.notBefore), der.time(fields.validity.notAfter)),
    name(fields.subject),
    spkiOf(fields.key),
    der.context(3, der.sequence(...fields.extensions)),
  );
  return signPss(tbs, algorithm, fields.signer);
}

function caExtensions(product: Product, endpoint: "vcek" | "vlek", root: boolean): Uint8Array[] {
  const url = `https://kdsintf.amd.com/${endpoint}/v1/${product}/crl`;
  const point = der.sequence(der.context(0, der.context(0, der.tlv(0x86, Buffer.from(url)))));
  return [
    der.extension("2.5.29.19", der.sequence(der.bool(true), ...(root ? [] : [der.integer(0)])), true),
    der.extension("2.5.29.15", der.bitString(Uint8Array.of(root ? 0x06 : 0x04), 1), true),
    der.extension("2.5.29.31", der.sequence(point)),
  ];
}

/** Of several processes that make the same file at once, all use the first one's. @returns what the file holds */
function createOnce(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600 });
  try {
    linkSync(draft, path);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST")) throw thrown;
  }
  rmSync(draft);
  return readFileSync(path, "utf8");
}

const KEYS = ["ark", "ask", "asvk"] as const;

function loadKeys(product: Product, dir: string): Record<(typeof KEYS)[number], KeyObject> {
  const path = join(dir, `${product}.pem`);
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch {
    pem = KEYS.map(() =>
      generateKeyPairSync("rsa", { modulusLength: 4096 }).privateKey.export({ format: "pem", type: "pkcs8" }),
    ).join("");
    pem = createOnce(path, pem);
  }
  const blocks = pem.match(/-----BEGIN [^]*?-----END [^\n]*\n/g) ?? [];
  const [ark, ask, asvk] = blocks.map((block) => createPrivateKey(block));
  if (ark === undefined || ask === undefined || asvk === undefined)
    throw new Error(`${path}: not three keys`);
  return { ark, ask, asvk };
}

const fromText = (text: string): Uint8Array => Buffer.from(text, "base64");
const toText = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** Certificates must be the same in every process that shares `dir`: hence fixed dates, and one file. */
function loadCertificates(
  product: Product,
  keys: Record<(typeof KEYS)[number], KeyObject>,
  dir: string,
): Record<(typeof KEYS)[number], Uint8Array> {
  const path = join(dir, `${product}.json`);
  const validity = {
    notBefore: new Date("2020-10-22T18:00:00Z"),
    notAfter: new Date("2049-10-22T18:00:00Z"),
  };
  const ark = `ARK-${product}`;
  const common = { issuer: ark, validity, signer: keys.ark, trailer: true };
  const make = (): Record<(typeof KEYS)[number], Uint8Array> => ({
    ark: certificate({
      ...common,
      serial: SERIAL.ark,
      subject: ark,
      key: keys.ark,
      extensions: caExtensions(product, "vcek", true),
    }),
    ask: certificate({
      ...common,
      serial: SERIAL.ask,
      subject: `SEV-${product}`,
      key: keys.ask,
      extensions: caExtensions(product, "vcek", false),
    }),
    asvk: certificate({
      ...common,
      serial: SERIAL.asvk,
      subject: `SEV-VLEK-${product}`,
      key: keys.asvk,
      extensions: caExtensions(product, "vlek", false),
    }),
  });
  const read = (): Record<(typeof KEYS)[number], Uint8Array> => {
    const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written below
    const texts = parsed as Record<(typeof KEYS)[number], string>;
    return { ark: fromText(texts.ark), ask: fromText(texts.ask), asvk: fromText(texts.asvk) };
  };
  try {
    return read();
  } catch {
    const made = make();
    createOnce(
      path,
      JSON.stringify({ ark: toText(made.ark), ask: toText(made.ask), asvk: toText(made.asvk) }),
    );
    return read();
  }
}

export class AmdCa {
  readonly product: Product;
  readonly ark: Issued;
  readonly ask: Issued;
  readonly asvk: Issued;

  constructor(product: Product, ark: Issued, ask: Issued, asvk: Issued) {
    this.product = product;
    this.ark = ark;
    this.ask = ask;
    this.asvk = asvk;
  }

  /** For the policy: SHA-256 of the ARK's DER, hex. */
  get arkSha256(): string {
    return createHash("sha256").update(this.ark.der).digest("hex");
  }

  /** A fresh P-384 key with its certificate. */
  issue(options: VekOptions = {}): Vek {
    const { product } = this;
    const kind = options.kind ?? "VCEK";
    const vlek = kind === "VLEK";
    const tcb: Tcb = { ...GOOD_TCB[product], ...options.tcb };
    const size = product === "Turin" ? 8 : 64;
    const hwid =
      options.hwid ?? createHash("sha512").update(`twin chip of ${product}`).digest().subarray(0, size);
    const spl = (n: number, value: number): Uint8Array => der.extension(`${AMD}.3.${n}`, der.integer(value));
    const productName = options.productName ?? (vlek ? product : CERTIFICATE_PRODUCT[product]);
    const extensions = [
      der.extension(`${AMD}.1`, der.integer(options.structVersion ?? (product === "Turin" ? 1 : 0))),
      der.extension(`${AMD}.2`, der.ia5(productName)),
      ...(product === "Turin" ? [spl(9, tcb.fmc)] : []),
      spl(1, tcb.bootloader),
      spl(2, tcb.tee),
      ...(product === "Turin" ? [] : [spl(4, 0)]),
      spl(5, 0),
      spl(6, 0),
      spl(7, 0),
      spl(3, tcb.snp),
      spl(8, tcb.microcode),
      vlek
        ? der.extension(`${AMD}.5`, der.ia5(options.cspId ?? "CN=cc-twin.example"))
        : der.extension(`${AMD}.4`, hwid),
    ];
    const key = options.key ?? generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
    const issuer = vlek ? this.asvk : this.ask;
    const notBefore = new Date("2026-01-01T00:00:00Z");
    const validity = options.validity ?? {
      notBefore,
      notAfter: new Date(notBefore.getTime() + (vlek ? 1 : 7) * YEAR),
    };
    const encoded = certificate({
      serial: options.serial ?? 0,
      issuer: options.issuer ?? (vlek ? `SEV-VLEK-${product}` : `SEV-${product}`),
      subject: options.subject ?? `SEV-${kind}`,
      validity,
      key,
      signer: options.signWith ?? issuer.key,
      trailer: false,
      extensions: options.extensions?.(extensions) ?? extensions,
    });
    return { der: encoded, key, kind, hwid: vlek ? new Uint8Array(0) : hwid, tcb };
  }

  /** The ASK's key under another certificate of the ARK's. */
  askWith(change: (list: Uint8Array[]) => Uint8Array[]): Uint8Array {
    return certificate({
      serial: SERIAL.ask,
      issuer: `ARK-${this.product}`,
      subject: `SEV-${this.product}`,
      validity: { notBefore: new Date("2020-10-22T18:00:00Z"), notAfter: new Date("2049-10-22T18:00:00Z") },
      key: this.ask.key,
      signer: this.ark.key,
      trailer: true,
      extensions: change(caExtensions(this.product, "vcek", false)),
    });
  }

  /** Signed by the ARK. */
  crl(options: CrlOptions = {}): Uint8Array {
    const algorithm = pssAlgorithm(false);
    const thisUpdate = options.thisUpdate ?? new Date("2026-01-01T00:00:00Z");
    const nextUpdate = options.nextUpdate ?? new Date("2028-01-01T00:00:00Z");
    const entries = (options.revoked ?? []).map((serial) =>
      der.sequence(der.integer(serial), der.time(thisUpdate)),
    );
    const tbs = der.sequence(
      der.integer(1),
      algorithm,
      name(`ARK-${this.product}`),
      der.time(thisUpdate),
      der.time(nextUpdate),
      ...(entries.length > 0 ? [der.sequence(...entries)] : []),
      der.context(0, der.sequence(der.extension("2.5.29.20", der.integer(1)))),
    );
    return signPss(tbs, algorithm, options.signWith ?? this.ark.key);
  }

  /** What a KMS or a command gets as collateral. */
  collateral(crl: Uint8Array = this.crl()): {
    ark: Uint8Array;
    ask: Uint8Array;
    asvk: Uint8Array;
    crl: Uint8Array;
  } {
    return { ark: this.ark.der, ask: this.ask.der, asvk: this.asvk.der, crl };
  }
}

const made = new Map<string, AmdCa>();

/** One CA for a product: the same in every process that has the same `dir`. */
export function amdCa(product: Product, dir: string = join(tmpdir(), "sealet-twin-amd-ca")): AmdCa {
  const id = `${dir}/${product}`;
  let ca = made.get(id);
  if (ca === undefined) {
    const keys = loadKeys(product, dir);
    const certificates = loadCertificates(product, keys, dir);
    ca = new AmdCa(
      product,
      { der: certificates.ark, key: keys.ark },
      { der: certificates.ask, key: keys.ask },
      { der: certificates.asvk, key: keys.asvk },
    );
    made.set(id, ca);
  }
  return ca;
}

/** Fields of a report by the table's names; TCBs as components; the rest is what a good machine has. */
export type ReportFields = Partial<
  Omit<Report, "currentTcb" | "reportedTcb" | "committedTcb" | "launchTcb">
> & {
  readonly product: Product;
  readonly reportedTcb?: Partial<Tcb>;
  readonly committedTcb?: Partial<Tcb>;
  readonly currentTcb?: Partial<Tcb>;
  readonly launchTcb?: Partial<Tcb>;
};

function numbersAndBytes(fields: ReportFields): Record<string, number | bigint | Uint8Array> {
  const known: Record<string, number | bigint | Uint8Array> = {};
  for (const [field, value] of Object.entries(fields))
    if (typeof value === "number" || typeof value === "bigint" || value instanceof Uint8Array)
      known[field] = value;
  return known;
}

/** The unsigned bytes; what `fields` does not say is a good version 3 report's (5 on Turin). */
export function encodeReport(fields: ReportFields, vek?: Vek): Uint8Array {
  const { product } = fields;
  const version = fields.version ?? (product === "Turin" ? 5 : 3);
  const tcb = vek?.tcb ?? GOOD_TCB[product];
  const encode = (given: Partial<Tcb> | undefined): Uint8Array =>
    encodeTcb(product, { ...ZERO_TCB, ...tcb, ...given });
  const chipId = new Uint8Array(64);
  chipId.set(vek?.hwid ?? []);
  const [cpuidFamily, cpuidModel, cpuidStepping] = CPUID[product];
  const values: Readonly<Record<string, number | bigint | Uint8Array | undefined>> = {
    policy: 0x30000n,
    platformInfo: 0x25n,
    signatureAlgorithm: 1,
    keyInfo: vek?.kind === "VLEK" ? 4 : 0,
    reportIdMa: new Uint8Array(32).fill(0xff),
    currentBuild: 40,
    currentMinor: 55,
    currentMajor: 1,
    committedBuild: 40,
    committedMinor: 55,
    committedMajor: 1,
    ...(version >= 3 ? { cpuidFamily, cpuidModel, cpuidStepping } : {}),
    chipId,
    ...numbersAndBytes(fields),
    version,
    reportedTcb: encode(fields.reportedTcb),
    committedTcb: encode(fields.committedTcb),
    currentTcb: encode(fields.currentTcb),
    launchTcb: encode(fields.launchTcb),
  };
  const bytes = new Uint8Array(REPORT_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [field, offset, size, kind] of REPORT.rows) {
    const value = values[field];
    if (value === undefined || kind === "zero") continue;
    if (value instanceof Uint8Array) {
      if (value.length > size) throw new Error(`${field}: over ${size} bytes`);
      bytes.set(value, offset);
    } else if (kind === "u64") view.setBigUint64(offset, BigInt(value), true);
    else if (kind === "u32") view.setUint32(offset, Number(value), true);
    else view.setUint8(offset, Number(value));
  }
  return bytes;
}

/** Signs bytes [0, 0x2A0) and puts r and s where the ABI has them; whatever the bytes are. */
export function signReportBytes(bytes: Uint8Array, key: KeyObject): Uint8Array {
  const signed = Uint8Array.from(bytes);
  const raw = sign("sha384", signed.subarray(0, SIGNED_SIZE), { key, dsaEncoding: "ieee-p1363" });
  signed.fill(0, SIGNED_SIZE);
  signed.set(raw.subarray(0, 48).toReversed(), 0x2a0);
  signed.set(raw.subarray(48).toReversed(), 0x2e8);
  return signed;
}

/** A signed report, byte for byte as the secure processor makes it. */
export function signReport(fields: ReportFields, vek: Vek): Uint8Array {
  return signReportBytes(encodeReport(fields, vek), vek.key);
}

/** The certificate table of an extended report. */
export function certificateTable(
  entries: Partial<Record<CertificateKind, Uint8Array>>,
  order: "mixed" | "text" = "mixed",
): Uint8Array {
  const list = Object.entries(entries).map(([kind, bytes]) => ({
    guid: guidBytes(guidOf(kind), order),
    bytes,
  }));
  let offset = 24 * (list.length + 1);
  const head = Buffer.alloc(offset);
  list.forEach(({ guid, bytes }, i) => {
    head.set(guid, 24 * i);
    head.writeUInt32LE(offset, 24 * i + 16);
    head.writeUInt32LE(bytes.length, 24 * i + 20);
    offset += bytes.length;
  });
  return Buffer.concat([head, ...list.map(({ bytes }) => bytes)]);
}

function guidOf(kind: string): string {
  const guid = Object.entries(GUID).find(([known]) => known === kind)?.[1];
  if (guid === undefined) throw new Error(`no GUID for ${kind}`);
  return guid;
}
