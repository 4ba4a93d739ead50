/**
 * The SGX extension of a PCK certificate: which platform it is and which TCB Intel certified it at. Values are found by
 * their object identifier, never by position; one that is there twice, is missing or has another form is refused.
 *
 * @see Intel SGX PCK Certificate and CRL Profile Specification, §1.3.5
 */
import { Der, TAG } from "../der.ts";
import { Malformed } from "../malformed.ts";

export const SGX_EXTENSION = "1.2.840.113741.1.13.1";

/** By the last arc of their identifiers, from 1 on. */
export const CONFIGURATION = ["dynamicPlatform", "cachedKeys", "smtEnabled"] as const;

/** What the platform is set up for; undefined where the certificate does not say. */
type PlatformConfiguration = Readonly<Record<(typeof CONFIGURATION)[number], boolean | undefined>>;

export interface SgxExtension {
  /** Names the platform for ever, 16 bytes. */
  readonly ppid: Uint8Array;
  /** 16 SGX TCB components. */
  readonly components: readonly number[];
  readonly pceSvn: number;
  readonly cpuSvn: Uint8Array;
  readonly pceId: Uint8Array;
  readonly fmspc: Uint8Array;
  /** 0 standard, 1 scalable, 2 scalable with integrity. */
  readonly sgxType: number;
  /** These two in certificates of the Platform CA only. */
  readonly platformInstanceId: Uint8Array | undefined;
  readonly configuration: PlatformConfiguration | undefined;
}

const ENUMERATED_TYPES = 3;
const PREFIX = `${SGX_EXTENSION}.`;

/** @param value the extension's value. @throws Malformed */
export function parseSgxExtension(value: Uint8Array): SgxExtension {
  const outer = new Der(value, "SGX extension");
  const list = outer.sequence("SGX extension");
  outer.close("the SGX extension");
  const components: (number | undefined)[] = Array.from({ length: 16 }, () => undefined);
  const found: { -readonly [K in keyof Omit<SgxExtension, "components">]?: SgxExtension[K] } = {};

  const readTcb = (arc: number, entry: Der): void => {
    if (arc >= 1 && arc <= 16) components[arc - 1] = below(entry, 256, `TCB component ${arc}`);
    else if (arc === 17) found.pceSvn = below(entry, 65536, "PCESVN");
    else if (arc === 18) found.cpuSvn = octets(entry, 16, "CPUSVN");
    else entry.fail("UNSUPPORTED", `TCB field ${arc} is not known here`);
  };
  const readConfiguration = (arc: number, entry: Der): void => {
    const name =
      CONFIGURATION[arc - 1] ?? entry.fail("UNSUPPORTED", `configuration field ${arc} is not known here`);
    const none = { dynamicPlatform: undefined, cachedKeys: undefined, smtEnabled: undefined };
    found.configuration = { ...none, ...found.configuration, [name]: entry.boolean(name) };
  };
  fields(list, PREFIX, (arc, entry) => {
    if (arc === 1) found.ppid = octets(entry, 16, "PPID");
    else if (arc === 2) fields(entry.sequence("TCB"), `${PREFIX}2.`, readTcb);
    else if (arc === 3) found.pceId = octets(entry, 2, "PCE-ID");
    else if (arc === 4) found.fmspc = octets(entry, 6, "FMSPC");
    else if (arc === 5) found.sgxType = sgxType(entry);
    else if (arc === 6) found.platformInstanceId = octets(entry, 16, "platform instance id");
    else if (arc === 7) fields(entry.sequence("configuration"), `${PREFIX}7.`, readConfiguration);
    else entry.fail("UNSUPPORTED", `field ${arc} is not known here`);
  });

  return {
    ppid: need(found.ppid, "PPID"),
    components: components.map((svn, i) => need(svn, `TCB component ${i + 1}`)),
    pceSvn: need(found.pceSvn, "PCESVN"),
    cpuSvn: need(found.cpuSvn, "CPUSVN"),
    pceId: need(found.pceId, "PCE-ID"),
    fmspc: need(found.fmspc, "FMSPC"),
    sgxType: need(found.sgxType, "SGX type"),
    platformInstanceId: found.platformInstanceId,
    configuration: found.configuration,
  };
}

/** Each field of a list by the last arc of its identifier. */
function fields(from: Der, prefix: string, read: (arc: number, entry: Der) => void): void {
  // one bit an arc; there are fewer than 31
  let seen = 0;
  while (!from.empty) {
    const at = from.offset;
    const entry = from.sequence("SGX extension field");
    const oid = entry.oid("SGX extension field");
    const arc = oid.startsWith(prefix) ? Number(oid.slice(prefix.length)) : 0;
    // INVARIANT: nothing in this extension is passed over, for every field says what the platform is
    if (!Number.isInteger(arc) || arc < 1 || arc > 30)
      throw new Malformed("UNSUPPORTED", from.what, at, `${oid} is not known here`);
    if ((seen & (1 << arc)) !== 0) throw new Malformed("DUPLICATE", from.what, at, `${oid} twice`);
    seen |= 1 << arc;
    read(arc, entry);
    entry.close("the field");
  }
}

function octets(from: Der, size: number, field: string): Uint8Array {
  const value = from.primitive(TAG.octetString, field);
  if (value.length !== size) from.fail("UNEXPECTED", `${field} of ${value.length} bytes, not ${size}`);
  return value;
}

function below(from: Der, limit: number, field: string): number {
  const value = from.small(field);
  return value < limit ? value : from.fail("UNEXPECTED", `${field} is ${value}`);
}

function sgxType(from: Der): number {
  const [value = 0, ...more] = from.primitive(TAG.enumerated, "SGX type");
  return more.length === 0 && value < ENUMERATED_TYPES
    ? value
    : from.fail("UNEXPECTED", "SGX type is not known");
}

function need<T>(field: T | undefined, name: string): T {
  if (field === undefined) throw new Malformed("MISSING", "SGX extension", 0, name);
  return field;
}
