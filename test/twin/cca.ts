/** An Arm CCA platform and a realm on it as a twin: writes attestation tokens as RMM does, right or wrong on purpose. */
import { createHash, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

export type Item =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly Item[]
  | ReadonlyMap<number | string, Item>
  | { tag: number; value: Item };

function head(major: number, argument: number): Uint8Array {
  const first = major << 5;
  if (argument < 24) return Uint8Array.of(first | argument);
  if (argument < 0x100) return Uint8Array.of(first | 24, argument);
  if (argument < 0x10000) return Uint8Array.of(first | 25, argument >> 8, argument & 0xff);
  return Uint8Array.of(
    first | 26,
    argument >>> 24,
    (argument >> 16) & 0xff,
    (argument >> 8) & 0xff,
    argument & 0xff,
  );
}

/** RFC 8949, preferred serialization. */
export function cbor(item: Item): Uint8Array {
  if (item === null) return Uint8Array.of(0xf6);
  if (typeof item === "boolean") return Uint8Array.of(item ? 0xf5 : 0xf4);
  if (typeof item === "number") return item < 0 ? head(1, -1 - item) : head(0, item);
  if (typeof item === "string") return Buffer.concat([head(3, Buffer.byteLength(item)), Buffer.from(item)]);
  if (item instanceof Uint8Array) return Buffer.concat([head(2, item.length), item]);
  if (item instanceof Map) {
    const pairs = [...item].flatMap(([key, value]: [number | string, Item]) => [cbor(key), cbor(value)]);
    return Buffer.concat([head(5, item.size), ...pairs]);
  }
  if ("tag" in item) return Buffer.concat([head(6, item.tag), cbor(item.value)]);
  const items = Array.isArray(item) ? item : [];
  return Buffer.concat([head(4, items.length), ...items.map(cbor)]);
}

const newKey = (): KeyObject => generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;

/** Uncompressed, 97 bytes. */
export const pointOf = (key: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-97));

interface Sign1Options {
  readonly header?: ReadonlyMap<number | string, Item>;
  readonly signWith?: KeyObject;
  readonly tag?: number;
  /** In the place of the right one. */
  readonly signature?: Item;
  /** In the place of the claims, rightly signed. */
  readonly payload?: Item;
}

function sign1(
  claims: ReadonlyMap<number | string, Item>,
  key: KeyObject,
  options: Sign1Options = {},
): Uint8Array {
  const header = cbor(options.header ?? new Map<number, Item>([[1, -35]]));
  const payload = cbor(options.payload ?? claims);
  const signed = cbor(["Signature1", header, new Uint8Array(0), payload]);
  const signature = sign("sha384", signed, { key: options.signWith ?? key, dsaEncoding: "ieee-p1363" });
  return cbor({
    tag: options.tag ?? 18,
    value: [header, new Map(), payload, options.signature ?? new Uint8Array(signature)],
  });
}

type Changes = Readonly<Record<number, Item | undefined>>;

export interface TokenOptions {
  readonly platform?: Changes;
  readonly realm?: Changes;
  readonly platformSign?: Sign1Options;
  readonly realmSign?: Sign1Options;
  /** "cmw": as drafts from version 01 on have it. */
  readonly wrap?: "rmm" | "cmw";
  /** "point": as tokens of before 2023. */
  readonly key?: "cose" | "point";
  readonly collection?: (parts: Map<number | string, Item>) => Item;
}

function changed(claims: Map<number | string, Item>, changes: Changes = {}): Map<number | string, Item> {
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) claims.delete(Number(key));
    else claims.set(Number(key), value);
  }
  return claims;
}

export class CcaPlatform {
  readonly key = newKey();
  readonly realmKey = newKey();
  readonly instanceId: Uint8Array = Uint8Array.from([1, ...createHash("sha256").update("twin").digest()]);

  token(options: TokenOptions = {}): Uint8Array {
    const point = pointOf(this.realmKey);
    const cose = cbor(
      new Map<number, Item>([
        [1, 2],
        [-1, 2],
        [-2, point.slice(1, 49)],
        [-3, point.slice(49)],
      ]),
    );
    const publicKey = options.key === "point" ? point : cose;
    const component = new Map<number, Item>([
      [1, "RMM"],
      [2, new Uint8Array(32).fill(2)],
      [4, "1.0"],
      [5, new Uint8Array(32).fill(5)],
    ]);
    const platform = new Map<number | string, Item>([
      [265, "tag:arm.com,2023:cca_platform#1.0.0"],
      [10, new Uint8Array(createHash("sha256").update(publicKey).digest())],
      [2396, new Uint8Array(32).fill(1)],
      [256, this.instanceId],
      [2401, Uint8Array.of(0xcf)],
      [2395, 0x3003],
      [2399, [component]],
      [2402, "sha-256"],
    ]);
    const realm = new Map<number | string, Item>([
      [265, "tag:arm.com,2023:realm#1.0.0"],
      [10, new Uint8Array(64)],
      [44235, new Uint8Array(64)],
      [44238, new Uint8Array(32).fill(8)],
      [44239, [0, 1, 2, 3].map(() => new Uint8Array(32))],
      [44236, "sha-256"],
      [44237, publicKey],
      [44240, "sha-256"],
    ]);
    const tokens = [
      sign1(changed(platform, options.platform), this.key, options.platformSign),
      sign1(changed(realm, options.realm), this.realmKey, options.realmSign),
    ] as const;
    const wrapped = (token: Uint8Array): Item => (options.wrap === "cmw" ? [263, token] : token);
    const parts = new Map<number | string, Item>([
      [44234, wrapped(tokens[0])],
      [44241, wrapped(tokens[1])],
    ]);
    const collection = options.collection?.(parts) ?? {
      tag: options.wrap === "cmw" ? 907 : 399,
      value: parts,
    };
    return new Uint8Array(cbor(collection));
  }
}
