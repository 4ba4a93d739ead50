/**
 * Where everything lies on a state disk. The whole disk is sealet's: no partition table, which the host could edit.
 *
 *   0        LUKS2 header: two copies and the keyslot area ("header bytes", HEADER_BYTES)
 *   3 MiB    seal record, slot 0 (even epochs, and the intent of a first format)
 *   3.5 MiB  seal record, slot 1 (odd epochs)
 *   4 MiB    dm-integrity and dm-crypt: the sealed device. Inside it:
 *              0                   dm-clone's metadata: which regions were initialised
 *              metadataSectors     ext4
 */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Linux counts block devices in sectors of this size whatever the disk's own is. */
export const SECTOR = 512;

/** One LUKS2 header copy: binary header and JSON area. LUKS2 On-Disk Format 1.1.3, §2. */
export const LUKS2_COPY_BYTES = 16 * KIB;
export const LUKS2_JSON_BYTES = LUKS2_COPY_BYTES - 4096;
export const LUKS2_KEYSLOTS_BYTES = 256 * KIB;
/** What the record's digest and MAC cover: both copies and the keyslot area. */
export const HEADER_BYTES = 2 * LUKS2_COPY_BYTES + LUKS2_KEYSLOTS_BYTES;

export const RECORD_OFFSETS = [3 * MIB, 3.5 * MIB] as const;
/** A slot is written as a whole block, so that a disk with 4096-byte sectors writes it in one piece. */
export const RECORD_SLOT_BYTES = 4096;

export const HEADER_AREA_BYTES = 4 * MIB;
export const DATA_OFFSET_SECTORS = HEADER_AREA_BYTES / SECTOR;

export const CIPHER = { name: "aegis128", mode: "random", keyBytes: 16, integrity: "aead" } as const;
export const DATA_SECTOR_BYTES = 4096;

/** Below this, ext4 and dm-integrity's journals leave no room worth having. */
export const MIN_DISK_BYTES = 256 * MIB;

/** Where the file system lies in the sealed device, and how finely dm-clone tracks what was initialised. */
export interface Geometry {
  readonly regionSectors: number;
  readonly metadataSectors: number;
  readonly dataSectors: number;
}

/**
 * Regions of 64 KiB: smaller ones make dm-clone split every request and commit more metadata, larger ones make a first
 * small write copy more zeros (measured: README, "State disk"). dm-clone's metadata is a copy-on-write bit array: four
 * times its size and a megabyte for its space maps leave it room at any state.
 */
export function geometryOf(sealedSectors: number): Geometry {
  const regionSectors = (64 * KIB) / SECTOR;
  const mib = MIB / SECTOR;
  const bitmapBytes = Math.ceil(sealedSectors / regionSectors / 8);
  const metadataSectors = (1 + Math.ceil((4 * bitmapBytes) / MIB)) * mib;
  const dataSectors = Math.floor((sealedSectors - metadataSectors) / mib) * mib;
  return { regionSectors, metadataSectors, dataSectors };
}
