/**
 * The attestation token of an Arm CCA realm: two COSE_Sign1 tokens, the platform's and the realm's, in one collection. Reads
 * bytes, judges nothing.
 *
 * @see draft-ffm-rats-cca-token §4, §5 (claims, collection); Arm RMM specification, §A7.2; RFC 9052 §4.2 (COSE_Sign1)
 */
import { fromHex } from "../bytes.ts";
import { Malformed } from "../malformed.ts";
import {
  decodeCbor,
  isArray,
  isBytes,
  isMap,
  isTagged,
  sigStructure,
  type Cbor,
  type CborMap,
} from "./cbor.ts";

const MAX_TOKEN = 16 * 1024;
/** RMM 1.0 wraps the tokens in tag 399; the draft from version 01 on in a CMW collection. */
const TAG_CCA = 399;
const TAG_CMW = 907;
const TAG_SIGN1 = 18;
const CONTENT_EAT_CWT = 263;
const PLATFORM = 44234;
const REALM = 44241;
const ES384 = -35;

interface Sign1 {
  /** What the signature is over. */
  readonly signed: Uint8Array;
  /** r and s, 96 bytes. */
  readonly signature: Uint8Array;
  readonly claims: CborMap;
}

type HashAlgorithm = "sha256" | "sha384" | "sha512";

interface SoftwareComponent {
  readonly type: string | undefined;
  readonly measurement: Uint8Array;
  readonly version: string | undefined;
  readonly signerId: Uint8Array;
}

interface PlatformClaims {
  readonly profile: string;
  /** Digest of the realm's public key. */
  readonly challenge: Uint8Array;
  readonly implementationId: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly config: Uint8Array;
  readonly lifecycle: number;
  readonly softwareComponents: readonly SoftwareComponent[];
}

interface RealmClaims {
  readonly profile: string | undefined;
  /** The caller's 64 bytes. */
  readonly challenge: Uint8Array;
  readonly personalization: Uint8Array;
  readonly initialMeasurement: Uint8Array;
  readonly extensibleMeasurements: readonly Uint8Array[];
  /** As it stands in the claim: what the platform's challenge is the digest of. */
  readonly publicKeyBytes: Uint8Array;
  /** Uncompressed point of P-384, 97 bytes. */
  readonly publicKey: Uint8Array;
  readonly publicKeyHash: HashAlgorithm;
}

export interface CcaToken {
  readonly platform: Sign1;
  readonly platformClaims: PlatformClaims;
  readonly realm: Sign1;
  readonly realmClaims: RealmClaims;
}

/** @throws Malformed */
export function parseCcaToken(bytes: Uint8Array): CcaToken {
  const what = "CCA token";
  if (bytes.length > MAX_TOKEN) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_TOKEN} bytes`);
  const whole = decodeCbor(bytes, what);
  if (!isTagged(whole) || !isMap(whole.value))
    throw new Malformed("UNEXPECTED", what, 0, "no tagged collection");
  const { tag, value } = whole;
  if (tag !== TAG_CCA && tag !== TAG_CMW)
    throw new Malformed("UNSUPPORTED", what, 0, `collection with tag ${tag}`);
  for (const key of value.keys())
    if (key !== PLATFORM && key !== REALM)
      throw new Malformed("UNSUPPORTED", what, 0, `token ${key} is not known here`);
  const platform = parseSign1(element(value, PLATFORM, tag), "CCA platform token");
  const realm = parseSign1(element(value, REALM, tag), "CCA realm token");
  return {
    platform,
    platformClaims: readPlatform(new Claims(platform.claims, "CCA platform token")),
    realm,
    realmClaims: readRealm(new Claims(realm.claims, "CCA realm token")),
  };
}

function element(collection: CborMap, key: number, tag: number): Uint8Array {
  let value = collection.get(key);
  if (tag === TAG_CMW) {
    if (!isArray(value) || value.length !== 2 || value[0] !== CONTENT_EAT_CWT)
      throw new Malformed("UNEXPECTED", "CCA token", 0, `token ${key} is no EAT`);
    value = value[1];
  }
  if (!isBytes(value)) throw new Malformed("MISSING", "CCA token", 0, `no token ${key}`);
  return value;
}

function parseSign1(bytes: Uint8Array, what: string): Sign1 {
  const item = decodeCbor(bytes, what);
  const parts = isTagged(item) && item.tag === TAG_SIGN1 ? item.value : undefined;
  if (!isArray(parts) || parts.length !== 4) throw new Malformed("UNEXPECTED", what, 0, "no COSE_Sign1");
  const [header, unprotected, payload, signature] = parts;
  if (!isBytes(header) || !isMap(unprotected) || !isBytes(payload) || !isBytes(signature))
    throw new Malformed("UNEXPECTED", what, 0, "no COSE_Sign1");
  const parameters = decodeCbor(header, `${what}'s header`);
  if (!isMap(parameters) || parameters.get(1) !== ES384)
    throw new Malformed("UNSUPPORTED", what, 0, "algorithm is not ES384");
  // RFC 9052 §3.1: what `crit` names must be understood, and nothing is here
  if (parameters.has(2)) throw new Malformed("UNSUPPORTED", what, 0, "critical header parameters");
  if (signature.length !== 96)
    throw new Malformed("UNEXPECTED", what, 0, `signature of ${signature.length} bytes`);
  const claims = decodeCbor(payload, `${what}'s claims`);
  if (!isMap(claims)) throw new Malformed("UNEXPECTED", what, 0, "claims are no map");
  return { signed: sigStructure(header, payload), signature, claims };
}

class Claims {
  readonly #claims: CborMap;
  readonly #what: string;

  constructor(claims: CborMap, what: string) {
    this.#claims = claims;
    this.#what = what;
  }

  fail(code: Malformed["code"], why: string): never {
    throw new Malformed(code, this.#what, 0, why);
  }

  get(key: number): Cbor | undefined {
    return this.#claims.get(key);
  }

  bytes(key: number, ...sizes: readonly number[]): Uint8Array {
    const value = this.#claims.get(key);
    if (!isBytes(value)) return this.fail("MISSING", `claim ${key} is no byte string`);
    if (sizes.length > 0 && !sizes.includes(value.length))
      this.fail("UNEXPECTED", `claim ${key} has ${value.length} bytes`);
    return value;
  }

  text(key: number): string | undefined {
    const value = this.#claims.get(key);
    if (value === undefined) return undefined;
    return typeof value === "string" ? value : this.fail("UNEXPECTED", `claim ${key} is no text`);
  }

  hash(key: number): HashAlgorithm {
    const name = this.text(key);
    const known = { "sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512" } as const;
    if (name === "sha-256" || name === "sha-384" || name === "sha-512") return known[name];
    return this.fail("UNSUPPORTED", `claim ${key} names no known hash`);
  }
}

function readPlatform(claims: Claims): PlatformClaims {
  const components = claims.get(2399);
  if (!isArray(components) || components.length === 0 || components.length > 64)
    return claims.fail("MISSING", "claim 2399 lists no software components");
  const lifecycle = claims.get(2395);
  if (typeof lifecycle !== "number") return claims.fail("MISSING", "claim 2395 is no lifecycle");
  return {
    profile: claims.text(265) ?? claims.fail("MISSING", "claim 265 (profile)"),
    challenge: claims.bytes(10, 32, 48, 64),
    implementationId: claims.bytes(2396, 32),
    instanceId: claims.bytes(256, 33),
    config: claims.bytes(2401),
    lifecycle,
    softwareComponents: components.map((component) => {
      if (!isMap(component)) return claims.fail("UNEXPECTED", "a software component is no map");
      const fields = new Claims(component, "CCA software component");
      return {
        type: fields.text(1),
        measurement: fields.bytes(2, 32, 48, 64),
        version: fields.text(4),
        signerId: fields.bytes(5, 32, 48, 64),
      };
    }),
  };
}

function readRealm(claims: Claims): RealmClaims {
  const measurements = claims.get(44239);
  if (!isArray(measurements) || measurements.length !== 4 || !measurements.every(isBytes))
    return claims.fail("MISSING", "claim 44239 is not four measurements");
  const publicKeyBytes = claims.bytes(44237);
  return {
    profile: claims.text(265),
    challenge: claims.bytes(10, 64),
    personalization: claims.bytes(44235, 64),
    initialMeasurement: claims.bytes(44238, 32, 48, 64),
    extensibleMeasurements: measurements,
    publicKeyBytes,
    publicKey:
      publicKeyBytes.length === 97 && publicKeyBytes[0] === 4 ? publicKeyBytes : coseKey(publicKeyBytes),
    publicKeyHash: claims.hash(44240),
  };
}

/** A COSE_Key of an EC2 key on P-384 (RFC 9053 §7.1.1). */
function coseKey(bytes: Uint8Array): Uint8Array {
  const what = "realm's public key";
  const key = decodeCbor(bytes, what);
  if (!isMap(key) || key.get(1) !== 2 || key.get(-1) !== 2)
    throw new Malformed("UNSUPPORTED", what, 0, "neither a point nor a COSE_Key on P-384");
  const [x, y] = [key.get(-2), key.get(-3)];
  if (!isBytes(x) || !isBytes(y) || x.length !== 48 || y.length !== 48)
    throw new Malformed("UNEXPECTED", what, 0, "coordinates are not 48 bytes each");
  return Uint8Array.from([4, ...x, ...y]);
}

/** SubjectPublicKeyInfo up to the point of an uncompressed P-384 key (RFC 5480 §2). */
const P384_PREFIX = fromHex("3076301006072a8648ce3d020106052b81040022036200");

export function p384Spki(point: Uint8Array): Uint8Array {
  return Uint8Array.from([...P384_PREFIX, ...point]);
}
