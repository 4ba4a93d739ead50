/** A TPM that quotes what it is told to, and writes TPMS_ATTEST as TPMs do. */
import { createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

const u8 = (value: number): Uint8Array => Uint8Array.of(value);
export const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);
const u32 = (value: number): Uint8Array => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const sized = (bytes: Uint8Array): Uint8Array => Buffer.concat([u16(bytes.length), bytes]);

export interface QuoteOptions {
  readonly nonce?: Uint8Array;
  /** TPM_ALG_ID and PCRs of each selection. */
  readonly selections?: readonly { readonly bank: number; readonly pcrs: readonly number[] }[];
  /** In the place of the digest of the PCRs that are selected. */
  readonly digest?: Uint8Array;
  readonly magic?: number;
  readonly type?: number;
  readonly safe?: number;
  readonly after?: Uint8Array;
  readonly signWith?: KeyObject;
}

export class Tpm {
  readonly key = generateKeyPairSync("rsa", { modulusLength: 2048 });
  /** Bank SHA-256. */
  readonly pcrs = new Map<number, Uint8Array>(
    Array.from({ length: 24 }, (_, pcr) => [pcr, new Uint8Array(32)]),
  );

  get spki(): Uint8Array {
    return new Uint8Array(this.key.publicKey.export({ format: "der", type: "spki" }));
  }

  extend(pcr: number, text: string): void {
    const digest = createHash("sha256").update(text).digest();
    const before = this.pcrs.get(pcr) ?? new Uint8Array(32);
    this.pcrs.set(pcr, new Uint8Array(createHash("sha256").update(before).update(digest).digest()));
  }

  quote(options: QuoteOptions = {}): { quote: Uint8Array; signature: Uint8Array } {
    const selections = options.selections ?? [{ bank: 0x0b, pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 11] }];
    const digest = createHash("sha256");
    for (const { pcrs } of selections)
      for (const pcr of pcrs) digest.update(this.pcrs.get(pcr) ?? new Uint8Array(32));
    const quote = new Uint8Array(
      Buffer.concat([
        u32(options.magic ?? 0xff544347),
        u16(options.type ?? 0x8018),
        sized(new Uint8Array(34).fill(7)),
        sized(options.nonce ?? new Uint8Array(32).fill(1)),
        new Uint8Array(8),
        u32(3),
        u32(0),
        u8(options.safe ?? 1),
        new Uint8Array(8).fill(0x20),
        u32(selections.length),
        ...selections.map(({ bank, pcrs }) => Buffer.concat([u16(bank), u8(3), bitmap(pcrs)])),
        sized(options.digest ?? digest.digest()),
        options.after ?? new Uint8Array(0),
      ]),
    );
    return {
      quote,
      signature: new Uint8Array(sign("sha256", quote, options.signWith ?? this.key.privateKey)),
    };
  }
}

function bitmap(pcrs: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(3);
  for (const pcr of pcrs) bytes[pcr >> 3] = (bytes[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  return bytes;
}
