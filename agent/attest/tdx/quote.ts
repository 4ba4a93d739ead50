/**
 * TDX quotes of version 4 and 5 as Intel's quoting enclave writes them. Reads bytes, judges nothing: which values are
 * good is for `verify.ts`. All integers are little-endian. It must never read a length without holding it against what
 * is there, nor accept two readings of the same bytes.
 *
 * @see Intel TDX DCAP Quoting Library API, appendix A.3 (quote format 4) and A.4 (quote format 5)
 * @see Intel TDX Module 1.5 ABI, TDREPORT_STRUCT, TDINFO_BASE
 */
import { type Decoded, Reader, structure } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

/** Quotes seen in the field have 5 to 8 KB. */
export const MAX_QUOTE_SIZE = 32 * 1024;

const TEE_TYPE_TDX = 0x81;
const ECDSA_P256 = 2;

export const HEADER = structure("TDX quote header", 48, [
  ["version", 0, 2, "u16"],
  ["attestationKeyType", 2, 2, "u16"],
  ["teeType", 4, 4, "u32"],
  ["reserved", 8, 4, "zero"],
  ["qeVendorId", 12, 16, "bytes"],
  ["userData", 28, 20, "bytes"],
]);

const TD_1_0 = [
  ["teeTcbSvn", 0, 16, "bytes"],
  ["mrSeam", 16, 48, "bytes"],
  ["mrSignerSeam", 64, 48, "bytes"],
  ["seamAttributes", 112, 8, "bytes"],
  ["tdAttributes", 120, 8, "u64"],
  ["xfam", 128, 8, "u64"],
  ["mrTd", 136, 48, "bytes"],
  ["mrConfigId", 184, 48, "bytes"],
  ["mrOwner", 232, 48, "bytes"],
  ["mrOwnerConfig", 280, 48, "bytes"],
  ["rtmr0", 328, 48, "bytes"],
  ["rtmr1", 376, 48, "bytes"],
  ["rtmr2", 424, 48, "bytes"],
  ["rtmr3", 472, 48, "bytes"],
  ["reportData", 520, 64, "bytes"],
] as const;

const TD_1_5 = [
  ...TD_1_0,
  // what the TDX module is now, where TD-preserving updates replaced the one the TD was launched under
  ["teeTcbSvn2", 584, 16, "bytes"],
  ["mrServiceTd", 600, 48, "bytes"],
] as const;

const TD_1_5_EXTENDED = [
  ...TD_1_5,
  ["vmId", 648, 1, "u8"],
  ["tdId", 649, 32, "bytes"],
  ["devInfo", 681, 48, "bytes"],
  ["initServiceTdHash", 729, 48, "bytes"],
  ["initServiceTdAttributes", 777, 8, "u64"],
  ["initCpuSvn", 785, 16, "bytes"],
  ["initTeeTcbSvn", 801, 16, "bytes"],
  ["initTeeFmspc", 817, 12, "bytes"],
  ["curServiceTdHash", 829, 48, "bytes"],
  ["curServiceTdAttributes", 877, 8, "u64"],
] as const;

/** By the body type that a version 5 quote declares; version 4 always has type 2. */
export const BODY = {
  2: structure("TD report 1.0", 584, TD_1_0),
  3: structure("TD report 1.5", 648, TD_1_5),
  4: structure("TD report 1.5 extended", 885, TD_1_5_EXTENDED),
} as const;

export type BodyType = keyof typeof BODY;

/** An SGX report body: the quoting enclave's, signed by the platform's PCK. @see Intel SDM vol. 3D, table 38-21 */
export const QE_REPORT = structure("QE report", 384, [
  ["cpuSvn", 0, 16, "bytes"],
  ["miscSelect", 16, 4, "bytes"],
  ["reserved1", 20, 28, "zero"],
  ["attributes", 48, 16, "bytes"],
  ["mrEnclave", 64, 32, "bytes"],
  ["reserved2", 96, 32, "zero"],
  ["mrSigner", 128, 32, "bytes"],
  ["reserved3", 160, 96, "zero"],
  ["isvProdId", 256, 2, "u16"],
  ["isvSvn", 258, 2, "u16"],
  ["reserved4", 260, 60, "zero"],
  ["reportData", 320, 64, "bytes"],
]);

type Td10 = Decoded<typeof TD_1_0>;
type Td15 = Decoded<typeof TD_1_5>;
type Td15Extended = Decoded<typeof TD_1_5_EXTENDED>;

/** What every body has, and by its type what only the newer ones have. */
export type TdReport =
  | { readonly type: 2; readonly fields: Td10 }
  | { readonly type: 3; readonly fields: Td15 }
  | { readonly type: 4; readonly fields: Td15Extended };

export interface Quote {
  readonly version: 4 | 5;
  readonly header: Decoded<typeof HEADER.rows>;
  readonly td: TdReport;
  /** What the attestation key signs: header, body descriptor, body. */
  readonly signedBytes: Uint8Array;
  /** r and s, 64 bytes. */
  readonly signature: Uint8Array;
  /** x and y of a P-256 point, 64 bytes. */
  readonly attestationKey: Uint8Array;
  readonly qeReportBytes: Uint8Array;
  readonly qeReport: Decoded<typeof QE_REPORT.rows>;
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  /** PEM text: PCK certificate, its CA, Intel's root. */
  readonly pckChainPem: Uint8Array;
  /** From attestation key to PCK chain: all that stays the same while the platform's quoting enclave runs. */
  readonly platformBytes: Uint8Array;
  /** After the signature; no one signs them. */
  readonly trailing: Uint8Array;
  /** Where a reserved field is not zero. */
  readonly reserved: { readonly name: string; readonly offset: number } | undefined;
}

/** Certification data that is the QE report with what certifies it, and that is the PCK chain. */
const CERTIFICATION_QE_REPORT = 6;
const CERTIFICATION_PCK_CHAIN = 5;

/** @throws Malformed */
export function parseQuote(bytes: Uint8Array): Quote {
  const what = "TDX quote";
  if (bytes.length > MAX_QUOTE_SIZE)
    throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_QUOTE_SIZE} bytes`);
  const quote = new Reader(bytes, what);
  const headerBytes = quote.take(HEADER.size, "header");
  const header = HEADER.decode(headerBytes);
  const version = header.version;
  if (version !== 4 && version !== 5)
    throw new Malformed("UNSUPPORTED", what, 0, `version ${version}; 4 and 5 are read here`);
  if (header.attestationKeyType !== ECDSA_P256)
    throw new Malformed(
      "UNSUPPORTED",
      what,
      2,
      `attestation key type ${header.attestationKeyType}, not ECDSA P-256`,
    );
  if (header.teeType !== TEE_TYPE_TDX)
    throw new Malformed("UNSUPPORTED", what, 4, `TEE type 0x${header.teeType.toString(16)} is not TDX`);

  const type = version === 4 ? 2 : bodyType(quote);
  const body = BODY[type];
  if (version === 5) {
    const declared = quote.u32le("body size");
    if (declared !== body.size)
      quote.fail("UNEXPECTED", `body type ${type} has ${body.size} bytes, ${declared} are declared`);
  }
  const bodyBytes = quote.take(body.size, body.name);
  const signedBytes = bytes.subarray(0, quote.offset);

  const signed = quote.nested(quote.u32le("signature size"), "TDX quote signature");
  const signature = signed.take(64, "signature");
  const platformBytes = signed.bytes.subarray(signed.offset);
  const attestationKey = signed.take(64, "attestation key");
  const certification = certificationData(signed, CERTIFICATION_QE_REPORT, "QE certification data");
  signed.end();
  const qeReportBytes = certification.take(QE_REPORT.size, "QE report");
  const qeReportSignature = certification.take(64, "QE report signature");
  const qeAuthData = certification.take(
    certification.u16le("QE authentication data size"),
    "QE authentication data",
  );
  const pckChain = certificationData(certification, CERTIFICATION_PCK_CHAIN, "PCK chain");
  certification.end();

  return {
    version,
    header,
    td: decodeBody(type, bodyBytes),
    signedBytes,
    signature,
    attestationKey,
    qeReportBytes,
    qeReport: QE_REPORT.decode(qeReportBytes),
    qeReportSignature,
    qeAuthData,
    pckChainPem: pckChain.rest(),
    platformBytes,
    trailing: quote.rest(),
    reserved: HEADER.reserved(headerBytes) ?? QE_REPORT.reserved(qeReportBytes),
  };
}

function decodeBody(type: BodyType, bytes: Uint8Array): TdReport {
  if (type === 2) return { type, fields: BODY[2].decode(bytes) };
  if (type === 3) return { type, fields: BODY[3].decode(bytes) };
  return { type, fields: BODY[4].decode(bytes) };
}

function bodyType(quote: Reader): BodyType {
  const type = quote.u16le("body type");
  if (type !== 2 && type !== 3 && type !== 4) return quote.fail("UNSUPPORTED", `body type ${type}`);
  return type;
}

function certificationData(from: Reader, type: number, what: string): Reader {
  const found = from.u16le(`${what}'s type`);
  if (found !== type)
    from.fail("UNSUPPORTED", `${what} is of type ${found}; only type ${type} is verified here`);
  return from.nested(from.u32le(`${what}'s size`), what);
}
