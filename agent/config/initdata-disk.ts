/**
 * Initdata as a raw disk, in Confidential Containers' framing: the magic "initdata", the length of what follows (u64,
 * little-endian), the gzip of the document; padded to whole sectors. The host made it: every length is held against
 * a limit before anything is allocated.
 * @see https://github.com/kata-containers/kata-containers/blob/main/docs/how-to/how-to-use-initdata.md
 */
import { gunzipSync, gzipSync } from "node:zlib";
import { SealetError } from "../error.ts";
import { MAX_INITDATA_BYTES } from "./initdata.ts";

const MAGIC = Buffer.from("initdata", "latin1");
const HEADER_BYTES = 16;
const SECTOR = 4096;

/** A reader takes this much of the disk and no more. */
export const MAX_IMAGE_BYTES = 128 * 1024;

export function frameInitdata(document: Uint8Array): Buffer {
  const compressed = gzipSync(document, { level: 9 });
  // The one byte of the header that tells where it was made (RFC 1952 §2.3.1, OS): unknown.
  compressed[9] = 255;
  const image = Buffer.alloc(Math.ceil((HEADER_BYTES + compressed.length) / SECTOR) * SECTOR);
  MAGIC.copy(image);
  image.writeBigUInt64LE(BigInt(compressed.length), 8);
  compressed.copy(image, HEADER_BYTES);
  if (image.length > MAX_IMAGE_BYTES)
    throw new SealetError("INITDATA_INVALID", "The initdata is too long for a disk");
  return image;
}

export function isFramed(image: Uint8Array): boolean {
  return MAGIC.equals(image.subarray(0, MAGIC.length));
}

/**
 * @param image the disk's first bytes, at least the whole frame, `MAX_IMAGE_BYTES` at most
 * @throws INITDATA_MISSING where the disk carries no initdata, INITDATA_INVALID where it is damaged
 */
export function unframeInitdata(image: Uint8Array): Buffer {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  if (bytes.length < HEADER_BYTES || !isFramed(bytes))
    throw new SealetError("INITDATA_MISSING", "The disk 'initdata' does not begin with initdata's magic");
  const length = bytes.readBigUInt64LE(8);
  if (length > BigInt(bytes.length - HEADER_BYTES))
    throw new SealetError("INITDATA_INVALID", "initdata is cut off or too long", {
      expected: `at most ${bytes.length - HEADER_BYTES} bytes`,
      found: `${length} bytes`,
    });
  try {
    return gunzipSync(bytes.subarray(HEADER_BYTES, HEADER_BYTES + Number(length)), {
      maxOutputLength: MAX_INITDATA_BYTES,
    });
  } catch (cause) {
    throw new SealetError("INITDATA_INVALID", "initdata cannot be decompressed, or is too long", { cause });
  }
}
