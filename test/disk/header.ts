/** Builds LUKS2 headers and header areas for tests, from what cryptsetup 2.6.1 wrote with sealet's profile. */
import { createHash } from "node:crypto";

import {
  HEADER_AREA_BYTES,
  HEADER_BYTES,
  LUKS2_COPY_BYTES,
  RECORD_OFFSETS,
} from "../../agent/disk/layout.ts";

export const UUID = "471434e5-5c44-4f7d-9488-2831ee4dbd15";

const SALT = "kzDm2sibYSbwnyVmFISXnq2QmFULyuGr8F3O3pOFA4I=";
export const JSON_AREA = {
  keyslots: {
    "0": {
      type: "luks2",
      key_size: 16,
      af: { type: "luks1", stripes: 4000, hash: "sha256" },
      area: { type: "raw", offset: "32768", size: "65536", encryption: "aes-xts-plain64", key_size: 64 },
      kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000, salt: SALT },
    },
  },
  tokens: {},
  segments: {
    "0": {
      type: "crypt",
      offset: "4194304",
      size: "dynamic",
      iv_tweak: "0",
      encryption: "aegis128-random",
      sector_size: 4096,
      integrity: { type: "aead", journal_encryption: "none", journal_integrity: "none" },
    },
  },
  digests: {
    "0": {
      type: "pbkdf2",
      keyslots: ["0"],
      segments: ["0"],
      hash: "sha256",
      iterations: 1000,
      salt: "frzZ/J+1DrFF+hfPPYNQAdTFo6cihtGmAXYsUSBETiI=",
      digest: "bBs48Lfd5kL4TqUYjhBeyw+6ILnj9Z2Znnfrt7M4d7I=",
    },
  },
  config: { json_size: "12288", keyslots_size: "262144" },
};

/** Recomputes a copy's checksum, as an attacker would. */
export function repair(bytes: Buffer, index: 0 | 1): void {
  const copy = bytes.subarray(index * LUKS2_COPY_BYTES, (index + 1) * LUKS2_COPY_BYTES);
  copy.fill(0, 448, 512);
  createHash("sha256").update(copy).digest().copy(copy, 448);
}

/** Header bytes with both copies right and a keyslot area that is not zero. */
export function header(json: string = JSON.stringify(JSON_AREA)): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  for (const index of [0, 1] as const) {
    const copy = bytes.subarray(index * LUKS2_COPY_BYTES, (index + 1) * LUKS2_COPY_BYTES);
    copy.write(index === 0 ? "LUKS\xba\xbe" : "SKUL\xba\xbe", 0, "latin1");
    copy.writeUInt16BE(2, 6);
    copy.writeBigUInt64BE(BigInt(LUKS2_COPY_BYTES), 8);
    copy.writeBigUInt64BE(3n, 16);
    copy.write("sha256", 72, "latin1");
    copy.fill(0x40 + index, 104, 168);
    copy.write(UUID, 168, "latin1");
    copy.writeBigUInt64BE(BigInt(index * LUKS2_COPY_BYTES), 256);
    copy.write(json, 4096, "latin1");
    repair(bytes, index);
  }
  bytes.fill(0xa5, 2 * LUKS2_COPY_BYTES, 2 * LUKS2_COPY_BYTES + 65536);
  return bytes;
}

/** The first 4 MiB of a disk. */
export function area(parts: { header?: Buffer; slots?: readonly [Buffer?, Buffer?] }): Buffer {
  const bytes = Buffer.alloc(HEADER_AREA_BYTES);
  parts.header?.copy(bytes);
  parts.slots?.forEach((slot, index) => slot?.copy(bytes, RECORD_OFFSETS[index === 0 ? 0 : 1]));
  return bytes;
}
