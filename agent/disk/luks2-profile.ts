/**
 * The one LUKS2 configuration that sealet writes, as data. A header that says anything else is refused before
 * libcryptsetup sees it: a header whose cipher was replaced by cipher_null, with its checksums repaired, would else open
 * with the right key and take everything in clear (CVE-2025-59054 and its kin). Never lenient: unknown keys, flags,
 * requirements, tokens and further keyslots are refused too.
 * @see LUKS2 On-Disk Format Specification 1.1.3, §3
 */
import { SealetError } from "../error.ts";
import {
  CIPHER,
  DATA_SECTOR_BYTES,
  HEADER_AREA_BYTES,
  LUKS2_COPY_BYTES,
  LUKS2_JSON_BYTES,
  LUKS2_KEYSLOTS_BYTES,
} from "./layout.ts";
import { type Luks2Header, parseLuks2Header } from "./luks2-header.ts";

/** The passphrase is 256 bits from the KMS: iterations add nothing to it but time. */
export const PBKDF_ITERATIONS = 1000;
/** libcryptsetup computes the digest's count by itself from the keyslot's; its bound keeps a boot from hanging. */
const DIGEST_ITERATIONS = { min: 1000, max: 100_000 } as const;

/** Text that is compared by itself is exact; a function says what else a value may be. */
type Rule = string | number | readonly Rule[] | ((value: unknown) => string | undefined) | Shape;
interface Shape {
  readonly [key: string]: Rule;
}

const salt = (bytes: number) => (value: unknown) =>
  typeof value === "string" &&
  /^[A-Za-z0-9+/]*={0,2}$/.test(value) &&
  Buffer.from(value, "base64").length === bytes &&
  Buffer.from(value, "base64").toString("base64") === value
    ? undefined
    : `${bytes} bytes in base64`;

const between = (min: number, max: number) => (value: unknown) =>
  typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
    ? undefined
    : `${min} to ${max}`;

const PROFILE: Shape = {
  keyslots: {
    "0": {
      type: "luks2",
      key_size: CIPHER.keyBytes,
      af: { type: "luks1", stripes: 4000, hash: "sha256" },
      area: {
        type: "raw",
        offset: String(2 * LUKS2_COPY_BYTES),
        size: "65536", // 16-byte key, 4000 stripes, rounded up to 4096 bytes
        encryption: "aes-xts-plain64",
        key_size: 64,
      },
      kdf: { type: "pbkdf2", hash: "sha256", iterations: PBKDF_ITERATIONS, salt: salt(32) },
    },
  },
  tokens: {},
  segments: {
    "0": {
      type: "crypt",
      offset: String(HEADER_AREA_BYTES),
      size: "dynamic",
      iv_tweak: "0",
      encryption: `${CIPHER.name}-${CIPHER.mode}`,
      sector_size: DATA_SECTOR_BYTES,
      integrity: { type: CIPHER.integrity, journal_encryption: "none", journal_integrity: "none" },
    },
  },
  digests: {
    "0": {
      type: "pbkdf2",
      keyslots: ["0"],
      segments: ["0"],
      hash: "sha256",
      iterations: between(DIGEST_ITERATIONS.min, DIGEST_ITERATIONS.max),
      salt: salt(32),
      digest: salt(32),
    },
  },
  config: { json_size: String(LUKS2_JSON_BYTES), keyslots_size: String(LUKS2_KEYSLOTS_BYTES) },
};

/**
 * @param bytes HEADER_BYTES from the start of the disk
 * @throws DISK_DAMAGED, HEADER_PROFILE (with every deviation that was found)
 */
export function checkLuks2Header(bytes: Buffer): Luks2Header {
  const header = parseLuks2Header(bytes);
  const problems: string[] = [];
  const value = parseCanonical(header.json);
  if (value === undefined) problems.push("not canonical JSON");
  else compare(PROFILE, value, "$", problems);
  if (problems.length > 0) {
    throw new SealetError(
      "HEADER_PROFILE",
      "The LUKS2 header does not have the one form that sealet writes.",
      {
        expected: "sealet's LUKS2 profile",
        found: problems.slice(0, 8).join("; "),
      },
    );
  }
  return header;
}

/** As json-c writes it: no space, no key twice. What comes out differently would mean different things to two readers. */
function parseCanonical(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return JSON.stringify(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

function compare(rule: Rule, value: unknown, path: string, problems: string[]): void {
  if (typeof rule === "function") {
    const wanted = rule(value);
    if (wanted !== undefined) problems.push(`${path} is ${show(value)}, not ${wanted}`);
  } else if (typeof rule !== "object") {
    if (value !== rule) problems.push(`${path} is ${show(value)}, not ${show(rule)}`);
  } else if (isList(rule)) {
    if (!Array.isArray(value) || value.length !== rule.length) problems.push(`${path} is ${show(value)}`);
    else rule.forEach((item, index) => compare(item, value[index], `${path}[${index}]`, problems));
  } else {
    compareObject(rule, value, path, problems);
  }
}

const isList = (rule: readonly Rule[] | Shape): rule is readonly Rule[] => Array.isArray(rule);

function compareObject(rule: Shape, value: unknown, path: string, problems: string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    problems.push(`${path} is ${show(value)}, not an object`);
    return;
  }
  const entries = new Map<string, unknown>(Object.entries(value));
  for (const key of entries.keys()) {
    if (!Object.hasOwn(rule, key)) problems.push(`${path}.${key.slice(0, 40)} is unknown`);
  }
  for (const [key, inner] of Object.entries(rule)) {
    if (entries.has(key)) compare(inner, entries.get(key), `${path}.${key}`, problems);
    else problems.push(`${path}.${key} is missing`);
  }
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "undefined").slice(0, 60);
}
