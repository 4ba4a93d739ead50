/**
 * The proof that a disk is blank, so that it may be formatted. It guards against formatting a disk that somebody wired
 * up by mistake: a hostile host can show any disk as blank, and gains nothing by it. Never takes a read error, or bytes
 * it does not know, for blank.
 *
 * Reading a whole disk takes minutes, so the proof reads where something that keeps data leaves its mark: everything in
 * the first 16 and the last 4 MiB, every place that a known format keeps a copy of its superblock at, and samples in
 * between. Anything but zeros in one of them: not blank.
 */
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export interface Region {
  readonly offset: number;
  readonly bytes: number;
  readonly why: string;
}

/** As far as LUKS2's own headers go; and backup GPT, ZFS labels, RAID superblocks at the end. */
const HEAD_BYTES = 16 * MIB;
const TAIL_BYTES = 4 * MIB;
const SAMPLES = 256;
const SAMPLE_BYTES = 4 * KIB;

/** Copies of superblocks, in the middle of a disk, that outlive a wipe of its beginning. */
const BACKUPS: readonly Region[] = [
  { offset: 64 * MIB, bytes: 4 * KIB, why: "btrfs, second superblock" },
  { offset: 256 * GIB, bytes: 4 * KIB, why: "btrfs, third superblock" },
  // sparse_super: groups 1 and powers of 3, 5, 7; of 128 MiB with 4 KiB blocks, of 8 MiB with 1 KiB blocks.
  ...[1, 3, 5, 7, 9, 25, 27, 49, 81].flatMap((group) => [
    { offset: group * 128 * MIB, bytes: 4 * KIB, why: `ext4, superblock of group ${group}` },
    { offset: group * 8 * MIB, bytes: 4 * KIB, why: `ext4 with 1 KiB blocks, superblock of group ${group}` },
  ]),
];

/** All regions that are read, in order, without overlaps; all inside the disk. */
export function blankRegions(diskBytes: number): readonly Region[] {
  const head: Region = {
    offset: 0,
    bytes: Math.min(HEAD_BYTES, diskBytes),
    why: "headers, partition tables, superblocks",
  };
  const tailOffset = Math.max(head.bytes, diskBytes - TAIL_BYTES);
  const tail: Region = {
    offset: tailOffset,
    bytes: diskBytes - tailOffset,
    why: "backup GPT, RAID and ZFS labels",
  };
  const step = Math.floor((tail.offset - head.bytes) / (SAMPLES + 1) / SAMPLE_BYTES) * SAMPLE_BYTES;
  const samples: Region[] = Array.from({ length: step > 0 ? SAMPLES : 0 }, (_, index) => ({
    offset: head.bytes + (index + 1) * step,
    bytes: SAMPLE_BYTES,
    why: "sample",
  }));
  const between = [...BACKUPS, ...samples]
    .filter((region) => region.offset >= head.bytes && region.offset + region.bytes <= tail.offset)
    .toSorted((a, b) => a.offset - b.offset)
    .filter((region, index, all) => region.offset !== all[index - 1]?.offset);
  return [head, ...between, tail].filter((region) => region.bytes > 0);
}

/** [what, offset, bytes there]: only to say in words what was found. Whatever is not named here is as foreign. */
const SIGNATURES: readonly (readonly [string, number, Buffer])[] = [
  ["a LUKS header", 0, Buffer.from("LUKS\xba\xbe", "latin1")],
  ["an XFS file system", 0, Buffer.from("XFSB")],
  ["a GPT partition table", 512, Buffer.from("EFI PART")],
  ["a GPT partition table", 4096, Buffer.from("EFI PART")],
  ["an LVM physical volume", 512, Buffer.from("LABELONE")],
  ["an LVM physical volume", 0, Buffer.from("LABELONE")],
  ["an ext2, ext3 or ext4 file system", 1080, Buffer.from([0x53, 0xef])],
  ["a Linux RAID member", 4096, Buffer.from([0xfc, 0x4e, 0x2b, 0xa9])],
  ["swap space", 4086, Buffer.from("SWAPSPACE2")],
  ["a btrfs file system", 65600, Buffer.from("_BHRfS_M")],
  ["a dm-integrity device", 0, Buffer.from("integrt\0")],
  ["an NTFS file system", 3, Buffer.from("NTFS    ")],
  ["a partition table or boot sector", 510, Buffer.from([0x55, 0xaa])],
];

/** @param head the first 128 KiB or more */
export function nameContents(head: Buffer): string | undefined {
  return SIGNATURES.find(([, offset, magic]) =>
    magic.equals(head.subarray(offset, offset + magic.length)),
  )?.[0];
}
