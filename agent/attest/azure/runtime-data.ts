/**
 * The runtime data of Azure's paravisor: keys of the virtual TPM and how the VM is configured. Its digest is in the
 * hardware's report, so the paravisor said it; which key is the attestation key is told by its name, never by its place.
 */
import * as z from "zod";
import { equalBytes, utf8 } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

const MAX_RUNTIME_DATA = 8 * 1024;
const ATTESTATION_KEY = "HCLAkPub";

const jwk = z.object({
  kid: z.string(),
  kty: z.string(),
  e: z.string().optional(),
  n: z.string().optional(),
});

/** Keys that are not known are passed over: each paravisor has some more. */
const schema = z.object({
  keys: z.array(jwk).min(1).max(16),
  "vm-configuration": z
    .object({
      "console-enabled": z.boolean().optional(),
      "secure-boot": z.boolean().optional(),
      "tpm-enabled": z.boolean().optional(),
      "tpm-persisted": z.boolean().optional(),
      vmUniqueId: z.string().max(64).optional(),
    })
    .default({}),
  "user-data": z
    .string()
    .regex(/^(?:[0-9a-fA-F]{2}){0,64}$/)
    .optional(),
});

export interface RuntimeData {
  /** DER SubjectPublicKeyInfo, RSA. */
  readonly attestationKey: Uint8Array;
  readonly configuration: {
    readonly consoleEnabled: boolean | undefined;
    readonly secureBoot: boolean | undefined;
    readonly tpmEnabled: boolean | undefined;
    readonly tpmPersisted: boolean | undefined;
    readonly vmUniqueId: string | undefined;
  };
  /** Hex, as the guest wrote it into the TPM; the oldest paravisors have none. */
  readonly userData: string | undefined;
}

/** @throws Malformed */
export function parseRuntimeData(bytes: Uint8Array): RuntimeData {
  const what = "HCL runtime data";
  if (bytes.length > MAX_RUNTIME_DATA)
    throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_RUNTIME_DATA} bytes`);
  const text = utf8(bytes, what);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Malformed("ENCODING", what, 0, "not JSON");
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Malformed("UNEXPECTED", what, 0, `${issue?.path.map(String).join(".")}: ${issue?.message}`);
  }
  const { keys, "vm-configuration": configuration, "user-data": userData } = parsed.data;
  const named = keys.filter(({ kid }) => kid === ATTESTATION_KEY);
  const [key] = named;
  if (key === undefined) throw new Malformed("MISSING", what, 0, `no key ${ATTESTATION_KEY}`);
  if (named.length > 1) throw new Malformed("DUPLICATE", what, 0, `${ATTESTATION_KEY} twice`);
  if (key.kty !== "RSA" || key.n === undefined || key.e === undefined)
    throw new Malformed("UNSUPPORTED", what, 0, `${ATTESTATION_KEY} is no RSA key`);
  return {
    attestationKey: rsaSpki(base64Url(key.n, what), base64Url(key.e, what), what),
    configuration: {
      consoleEnabled: configuration["console-enabled"],
      secureBoot: configuration["secure-boot"],
      tpmEnabled: configuration["tpm-enabled"],
      tpmPersisted: configuration["tpm-persisted"],
      vmUniqueId: configuration.vmUniqueId,
    },
    userData,
  };
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** RFC 4648 §5, without padding, with nothing set after the last byte. */
function base64Url(text: string, what: string): Uint8Array {
  const bytes: number[] = [];
  let pending = 0;
  let bits = 0;
  for (const digit of text) {
    const value = DIGITS.indexOf(digit);
    if (value < 0) throw new Malformed("ENCODING", what, 0, "not base64url");
    pending = ((pending << 6) | value) & 0x3fff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((pending >> bits) & 0xff);
    }
  }
  if (bits >= 6 || (pending & ((1 << bits) - 1)) !== 0)
    throw new Malformed("ENCODING", what, 0, "not base64url");
  return Uint8Array.from(bytes);
}

const RSA_ALGORITHM = Uint8Array.from([0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0]);
const BITS = { minimum: 2048, maximum: 4096 } as const;
const EXPONENT = Uint8Array.of(1, 0, 1);

/**
 * RFC 8017 §A.1.1 in RFC 5280's SubjectPublicKeyInfo. Bounded: until the hardware's word is verified the key is the
 * host's, and what it costs is the host's to choose.
 */
function rsaSpki(modulus: Uint8Array, exponent: Uint8Array, what: string): Uint8Array {
  const bits = 8 * modulus.length;
  if (bits < BITS.minimum || bits > BITS.maximum || (modulus[0] ?? 0) < 0x80)
    throw new Malformed("UNSUPPORTED", what, 0, `RSA key of ${bits} bits`);
  if (!equalBytes(exponent, EXPONENT))
    throw new Malformed("UNSUPPORTED", what, 0, "RSA exponent is not 65537");
  const key = tlv(0x30, tlv(0x02, unsigned(modulus)), tlv(0x02, unsigned(exponent)));
  return tlv(0x30, RSA_ALGORITHM, tlv(0x03, Uint8Array.of(0), key));
}

function unsigned(magnitude: Uint8Array): Uint8Array {
  return (magnitude[0] ?? 0) < 0x80 ? magnitude : Uint8Array.from([0, ...magnitude]);
}

function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = parts.flatMap((part) => [...part]);
  const size = body.length;
  // keys are of 2048 bits or more, so no part has from 128 to 255 bytes
  const length = size < 0x80 ? [size] : [0x82, size >> 8, size & 0xff];
  return Uint8Array.from([tag, ...length, ...body]);
}
