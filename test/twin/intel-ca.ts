/**
 * Intel's certificate authority, provisioning service and quoting enclave as a twin: root, Platform and Processor CA, PCK
 * certificates, TCB signer, CRLs, TCB info, QE identity, and quotes of version 4 and 5 with any body. A policy has to
 * name the twin's root; no release policy does. All of it may be made wrong on purpose. Runs alone, without mocha.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from "node:crypto";
import { toBase64 } from "../../agent/attest/base64.ts";
import type { Row } from "../../agent/attest/bytes.ts";
import { TD_ATTRIBUTE } from "../../agent/attest/tdx/attributes.ts";
import type { CaKind, SignedDocument } from "../../agent/attest/tdx/facts.ts";
import { SGX_EXTENSION } from "../../agent/attest/tdx/pck.ts";
import { BODY, HEADER, QE_REPORT, type BodyType } from "../../agent/attest/tdx/quote.ts";
import type { TdxCollateral } from "../../agent/attest/tdx/verify.ts";
import * as der from "./der.ts";

export interface Issued {
  readonly der: Uint8Array;
  readonly key: KeyObject;
}

/** When everything of the twin is valid by default. */
export const TWIN_TIME = Date.parse("2026-06-01T00:00:00Z");
const NOT_BEFORE = new Date("2026-01-01T00:00:00Z");
const NOT_AFTER = new Date("2040-01-01T00:00:00Z");
const ISSUED = "2026-05-20T00:00:00Z";
const NEXT = "2026-06-19T00:00:00Z";

export const newKey = (): KeyObject => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;

export interface CertificateOptions {
  readonly subject?: string;
  readonly issuer?: string;
  readonly serial?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly key?: KeyObject;
  /** Signs with another key than the issuer's. */
  readonly signWith?: KeyObject;
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** keyUsage's bits, from digitalSignature (0) on. */
  readonly usage?: readonly number[];
  /** Sees the list of encoded extensions, and says which there shall be. */
  readonly extensions?: (list: Uint8Array[]) => Uint8Array[];
}

const attribute = (id: string, value: Uint8Array): Uint8Array => der.set(der.sequence(der.oid(id), value));

function distinguishedName(commonName: string): Uint8Array {
  return der.sequence(
    attribute("2.5.4.3", der.utf8(commonName)),
    attribute("2.5.4.10", der.utf8("Intel Corporation")),
    attribute("2.5.4.7", der.utf8("Santa Clara")),
    attribute("2.5.4.8", der.utf8("CA")),
    attribute("2.5.4.6", der.printable("US")),
  );
}

const ECDSA = der.sequence(der.oid("1.2.840.10045.4.3.2"));
const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: "der", type: "spki" });
/** x and y. */
const pointOf = (key: KeyObject): Uint8Array => new Uint8Array(spkiOf(key).subarray(-64));

function signDer(tbs: Uint8Array, key: KeyObject): Uint8Array {
  return der.sequence(tbs, ECDSA, der.bitString(sign("sha256", tbs, key)));
}

/** r and s, 64 bytes. */
function signRaw(data: Uint8Array, key: KeyObject): Uint8Array {
  return new Uint8Array(sign("sha256", data, { key, dsaEncoding: "ieee-p1363" }));
}

function usageBits(bits: readonly number[]): Uint8Array {
  const value = bits.reduce((sum, bit) => sum | (0x80 >> bit), 0);
  const unused = value === 0 ? 0 : Math.log2(value & -value);
  return value === 0 ? der.bitString(new Uint8Array(0)) : der.bitString(Uint8Array.of(value), unused);
}

function certificate(
  defaults: CertificateOptions & { readonly signer: KeyObject },
  options: CertificateOptions,
): Issued {
  const all = { ...defaults, ...options };
  const key = all.key ?? newKey();
  const constraints = der.sequence(
    ...(all.ca === true ? [der.bool(true)] : []),
    ...(all.ca === true && all.pathLength !== undefined ? [der.integer(all.pathLength)] : []),
  );
  const own = [
    der.extension("2.5.29.15", usageBits(all.usage ?? [0, 1]), true),
    der.extension("2.5.29.19", constraints, true),
  ];
  const extended = defaults.extensions?.(own) ?? own;
  const extensions = options.extensions?.(extended) ?? extended;
  const tbs = der.sequence(
    der.context(0, der.integer(2)),
    der.integer(all.serial ?? 1),
    ECDSA,
    distinguishedName(all.issuer ?? "Intel SGX Root CA"),
    der.sequence(der.time(all.notBefore ?? NOT_BEFORE), der.time(all.notAfter ?? NOT_AFTER)),
    distinguishedName(all.subject ?? ""),
    spkiOf(key),
    der.context(3, der.sequence(...extensions)),
  );
  return { der: signDer(tbs, all.signWith ?? defaults.signer), key };
}

export interface PckTcb {
  readonly components: readonly number[];
  readonly pceSvn: number;
}

export interface PckOptions extends CertificateOptions {
  readonly kind?: CaKind;
  readonly tcb?: PckTcb;
  readonly fmspc?: string;
  readonly pceId?: string;
  readonly ppid?: string;
  readonly configuration?: readonly boolean[];
  /** Sees the fields of the SGX extension, and says which there shall be. */
  readonly fields?: (list: Uint8Array[]) => Uint8Array[];
}

export interface Pck extends Issued {
  readonly kind: CaKind;
}

const padded = (first: readonly number[]): number[] => Array.from({ length: 16 }, (_, i) => first[i] ?? 0);

export const FMSPC = "90c06f000000";
export const PPID = "00112233445566778899aabbccddeeff";
/** Reaches the newest level of the twin's TCB info. */
export const NEW_TCB: PckTcb = { components: padded([3, 3, 2, 2, 4, 1, 0, 5]), pceSvn: 13 };
/** Reaches only its second. */
export const OLD_TCB: PckTcb = { components: padded([2, 2, 2, 2, 3, 1, 0, 5]), pceSvn: 13 };
const NEW_TEE_TCB = Uint8Array.from(padded([7, 1, 3]));

const field = (arc: string, value: Uint8Array): Uint8Array =>
  der.sequence(der.oid(`${SGX_EXTENSION}.${arc}`), value);
const hex = (text: string): Uint8Array => der.octets(Buffer.from(text, "hex"));

function sgxExtension(options: PckOptions): Uint8Array {
  const tcb = options.tcb ?? NEW_TCB;
  const list = [
    field("1", hex(options.ppid ?? PPID)),
    field(
      "2",
      der.sequence(
        ...tcb.components.map((svn, i) => field(`2.${i + 1}`, der.integer(svn))),
        field("2.17", der.integer(tcb.pceSvn)),
        field("2.18", der.octets(Uint8Array.from(tcb.components))),
      ),
    ),
    field("3", hex(options.pceId ?? "0000")),
    field("4", hex(options.fmspc ?? FMSPC)),
    field("5", der.tlv(0x0a, Uint8Array.of(1))),
    ...(options.kind === "processor"
      ? []
      : [
          field("6", hex("0f".repeat(16))),
          field(
            "7",
            der.sequence(
              ...(options.configuration ?? [true, false, true]).map((set, i) =>
                field(`7.${i + 1}`, der.bool(set)),
              ),
            ),
          ),
        ]),
  ];
  return der.extension(SGX_EXTENSION, der.sequence(...(options.fields?.(list) ?? list)));
}

export interface CrlOptions {
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  /** Serial numbers. */
  readonly revoked?: readonly number[];
  readonly issuer?: string;
  readonly signWith?: KeyObject;
}

export const SERIAL = { root: 1, platform: 2, processor: 3, tcbSigner: 4, pck: 0x7001 } as const;
const CA_NAME = { platform: "Intel SGX PCK Platform CA", processor: "Intel SGX PCK Processor CA" } as const;

const component = (svn: number): { svn: number } => ({ svn });
const moduleLevel = (isvsvn: number, tcbStatus: string, tcbDate: string) => ({
  tcb: { isvsvn },
  tcbDate,
  tcbStatus,
});

const level = (
  tcb: PckTcb,
  tdx: readonly number[],
  tcbStatus: string,
  tcbDate: string,
  advisoryIDs: string[],
) => ({
  tcb: {
    sgxtcbcomponents: tcb.components.map(component),
    pcesvn: tcb.pceSvn,
    tdxtcbcomponents: padded(tdx).map(component),
  },
  tcbDate,
  tcbStatus,
  ...(advisoryIDs.length > 0 ? { advisoryIDs } : {}),
});

/** Levels of the twin's TCB info; the fields that a test changes. */
export function defaultTcbInfo(fmspc = FMSPC) {
  const module = { mrsigner: "00".repeat(48), attributes: "00".repeat(8), attributesMask: "FF".repeat(8) };
  return {
    id: "TDX",
    version: 3,
    issueDate: ISSUED,
    nextUpdate: NEXT,
    fmspc,
    pceId: "0000",
    tcbType: 0,
    tcbEvaluationDataNumber: 20,
    tdxModule: module,
    tdxModuleIdentities: [
      { id: "TDX_03", ...module, tcbLevels: [moduleLevel(3, "UpToDate", "2025-03-13T00:00:00Z")] },
      {
        id: "TDX_01",
        ...module,
        tcbLevels: [
          moduleLevel(7, "UpToDate", "2025-03-13T00:00:00Z"),
          moduleLevel(2, "OutOfDate", "2023-08-09T00:00:00Z"),
        ],
      },
    ],
    tcbLevels: [
      level(NEW_TCB, [5, 0, 3], "UpToDate", "2025-03-13T00:00:00Z", []),
      level(OLD_TCB, [3, 0, 2], "OutOfDate", "2023-08-09T00:00:00Z", ["INTEL-SA-00001"]),
    ],
  };
}

const QE_MRSIGNER = "DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5";

export function defaultQeIdentity() {
  return {
    id: "TD_QE",
    version: 2,
    issueDate: ISSUED,
    nextUpdate: NEXT,
    tcbEvaluationDataNumber: 20,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: QE_MRSIGNER,
    isvprodid: 2,
    tcbLevels: [
      { tcb: { isvsvn: 6 }, tcbDate: "2025-03-13T00:00:00Z", tcbStatus: "UpToDate" },
      { tcb: { isvsvn: 4 }, tcbDate: "2024-03-13T00:00:00Z", tcbStatus: "OutOfDate" },
    ],
  };
}

type Fields = Readonly<Record<string, number | bigint | Uint8Array>>;

export interface QuoteOptions {
  readonly version?: 4 | 5;
  readonly bodyType?: BodyType;
  readonly header?: Fields;
  readonly td?: Fields;
  readonly qeReport?: Fields;
  readonly authData?: Uint8Array;
  readonly pck?: Pck;
  readonly attestationKey?: KeyObject;
  /** Sign with other keys than the right ones. */
  readonly signQuoteWith?: KeyObject;
  readonly signQeReportWith?: KeyObject;
  /** PEM, in the place of PCK, CA and root. */
  readonly chain?: string;
  readonly trailing?: Uint8Array;
}

function encode(size: number, rows: readonly Row[], fields: Fields): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (const [row, offset, length, kind] of rows) {
    const value = fields[row];
    if (value === undefined) continue;
    if (typeof value === "bigint") view.setBigUint64(offset, value, true);
    else if (typeof value !== "number") bytes.set(value.subarray(0, length), offset);
    else if (kind === "u8") view.setUint8(offset, value);
    else if (kind === "u16") view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
  }
  return bytes;
}

const little = (size: 2 | 4, value: number): Uint8Array => {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  if (size === 2) view.setUint16(0, value, true);
  else view.setUint32(0, value, true);
  return bytes;
};

export function pem(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map((bytes) => {
      const lines = toBase64(bytes).match(/.{1,64}/g) ?? [];
      return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
    })
    .join("");
}

/** RFC 5280 §4.2.1.2, method 1. */
const keyIdOf = (key: KeyObject): Uint8Array => createHash("sha1").update(spkiOf(key).subarray(-65)).digest();

/** Authority and subject key identifier and CRL distribution point, as genuine PCK certificates have them. */
function identifiers(issuer: KeyObject, subject: KeyObject): Uint8Array[] {
  const url = Buffer.from(
    "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
  );
  return [
    der.extension("2.5.29.35", der.sequence(der.tlv(0x80, keyIdOf(issuer)))),
    der.extension(
      "2.5.29.31",
      der.sequence(der.sequence(der.context(0, der.context(0, der.tlv(0x86, url))))),
    ),
    der.extension("2.5.29.14", der.octets(keyIdOf(subject))),
  ];
}

const ROOT_CRL_URL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";
const ROOT_CRL_POINT = der.extension(
  "2.5.29.31",
  der.sequence(der.sequence(der.context(0, der.context(0, der.tlv(0x86, Buffer.from(ROOT_CRL_URL)))))),
);

export class IntelCa {
  readonly root: Issued;
  readonly platform: Issued;
  readonly processor: Issued;
  readonly tcbSigner: Issued;

  /** @param keys PKCS#8 PEM of root, Platform CA, Processor CA and TCB signer, from `exportKeys`, or fresh ones */
  constructor(keys: readonly string[] = []) {
    const [root, platform, processor, tcbSigner] = [0, 1, 2, 3].map((i) => {
      const text = keys[i];
      return text === undefined ? newKey() : createPrivateKey(text);
    });
    if (!root || !platform || !processor || !tcbSigner) throw new Error("four keys");
    const signer = root;
    const usage = [5, 6];
    this.root = certificate(
      {
        subject: "Intel SGX Root CA",
        serial: SERIAL.root,
        key: root,
        signer,
        ca: true,
        pathLength: 1,
        usage,
        extensions: (list) => [...list, ROOT_CRL_POINT],
      },
      {},
    );
    this.platform = this.ca("platform", { key: platform });
    this.processor = this.ca("processor", { key: processor });
    this.tcbSigner = this.signer({ key: tcbSigner });
  }

  exportKeys(): string[] {
    return [this.root, this.platform, this.processor, this.tcbSigner].map(({ key }) =>
      key.export({ format: "pem", type: "pkcs8" }),
    );
  }

  /** For the policy: SHA-256 of the root's DER, hex. */
  get rootSha256(): string {
    return createHash("sha256").update(this.root.der).digest("hex");
  }

  ca(kind: CaKind, options: CertificateOptions = {}): Issued {
    const defaults = { subject: CA_NAME[kind], serial: SERIAL[kind], signer: this.root.key, usage: [5, 6] };
    return certificate({ ...defaults, ca: true, pathLength: 0 }, options);
  }

  signer(options: CertificateOptions = {}): Issued {
    const defaults = { subject: "Intel SGX TCB Signing", serial: SERIAL.tcbSigner, signer: this.root.key };
    return certificate(defaults, options);
  }

  pck(options: PckOptions = {}): Pck {
    const kind = options.kind ?? "platform";
    const key = newKey();
    const issued = certificate(
      {
        subject: "Intel SGX PCK Certificate",
        issuer: CA_NAME[kind],
        serial: SERIAL.pck,
        signer: this[kind].key,
        extensions: (list) => [
          ...list,
          sgxExtension(options),
          ...identifiers(this[kind].key, options.key ?? key),
        ],
        key,
      },
      options,
    );
    return { ...issued, kind };
  }

  crl(from: "root" | CaKind, options: CrlOptions = {}): Uint8Array {
    const revoked = (options.revoked ?? []).map((serial) =>
      der.sequence(der.integer(serial), der.time(NOT_BEFORE)),
    );
    const tbs = der.sequence(
      der.integer(1),
      ECDSA,
      distinguishedName(options.issuer ?? (from === "root" ? "Intel SGX Root CA" : CA_NAME[from])),
      der.time(options.thisUpdate ?? new Date(ISSUED)),
      der.time(options.nextUpdate ?? new Date(NEXT)),
      ...(revoked.length > 0 ? [der.sequence(...revoked)] : []),
      der.context(0, der.sequence(der.extension("2.5.29.20", der.integer(1)))),
    );
    return signDer(tbs, options.signWith ?? this[from].key);
  }

  /** @param signer who signs; its certificate goes into the chain with the root */
  sign(
    kind: "tcbInfo" | "enclaveIdentity",
    document: unknown,
    signer: Issued = this.tcbSigner,
    root = this.root,
  ): SignedDocument {
    const body = JSON.stringify(document);
    const signature = Buffer.from(signRaw(Buffer.from(body), signer.key)).toString("hex");
    return {
      body: new TextEncoder().encode(`{"${kind}":${body},"signature":"${signature}"}`),
      issuerChain: new TextEncoder().encode(pem(signer.der, root.der)),
    };
  }

  collateral(
    options: {
      readonly tcbInfo?: unknown;
      readonly qeIdentity?: unknown;
      readonly rootCrl?: CrlOptions;
      readonly pckCrl?: CrlOptions;
    } = {},
  ): TdxCollateral {
    return {
      tcbInfo: new Map([[FMSPC, this.sign("tcbInfo", options.tcbInfo ?? defaultTcbInfo())]]),
      qeIdentity: this.sign("enclaveIdentity", options.qeIdentity ?? defaultQeIdentity()),
      rootCrl: this.crl("root", options.rootCrl),
      pckCrl: {
        platform: this.crl("platform", options.pckCrl),
        processor: this.crl("processor", options.pckCrl),
      },
    };
  }

  quote(options: QuoteOptions = {}): Uint8Array {
    const version = options.version ?? 4;
    const bodyType = version === 4 ? 2 : (options.bodyType ?? 3);
    const body = BODY[bodyType];
    const pck = options.pck ?? this.pck();
    const attestationKey = options.attestationKey ?? newKey();
    const authData = options.authData ?? Uint8Array.from({ length: 32 }, (_, i) => i);
    const header = encode(HEADER.size, HEADER.rows, {
      version,
      attestationKeyType: 2,
      teeType: 0x81,
      qeVendorId: Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex"),
      ...options.header,
    });
    const td = encode(body.size, body.rows, {
      teeTcbSvn: NEW_TEE_TCB,
      teeTcbSvn2: NEW_TEE_TCB,
      tdAttributes: 1n << TD_ATTRIBUTE.SEPT_VE_DISABLE,
      xfam: 0xe7n,
      ...options.td,
    });
    const descriptor = version === 4 ? [] : [little(2, bodyType), little(4, body.size)];
    const signed = Buffer.concat([header, ...descriptor, td]);
    const attestation = pointOf(attestationKey);
    const qeReport = encode(QE_REPORT.size, QE_REPORT.rows, {
      attributes: Buffer.from("1500000000000000e700000000000000", "hex"),
      mrSigner: Buffer.from(QE_MRSIGNER, "hex"),
      isvProdId: 2,
      isvSvn: 7,
      reportData: createHash("sha256").update(attestation).update(authData).digest(),
      ...options.qeReport,
    });
    const chain = Buffer.from(options.chain ?? pem(pck.der, this[pck.kind].der, this.root.der));
    const certification = Buffer.concat([
      qeReport,
      signRaw(qeReport, options.signQeReportWith ?? pck.key),
      little(2, authData.length),
      authData,
      little(2, 5),
      little(4, chain.length),
      chain,
    ]);
    const signature = Buffer.concat([
      signRaw(signed, options.signQuoteWith ?? attestationKey),
      attestation,
      little(2, 6),
      little(4, certification.length),
      certification,
    ]);
    const trailing = options.trailing ?? new Uint8Array(0);
    return new Uint8Array(Buffer.concat([signed, little(4, signature.length), signature, trailing]));
  }
}
