/**
 * C structures of the kernel's ABI, each as a table of rows with the header that defines it: the one place that knows
 * their layouts. All are the same on x86_64 and aarch64 (LP64, little-endian). A test proves that the rows of each
 * structure tile it exactly; "zero" rows are reserved or padding and are written as zeros.
 */

export type RowKind = "u8" | "u16" | "u32" | "i32" | "u64" | "bytes" | "zero";
export type Row = readonly [name: string, offset: number, size: number, kind: RowKind];

export interface Layout {
  readonly name: string;
  readonly size: number;
  readonly rows: readonly Row[];
}

// include/uapi/linux/sev-guest.h
export const SNP_GUEST_REQUEST = {
  name: "struct snp_guest_request_ioctl",
  size: 32,
  rows: [
    ["msg_version", 0, 1, "u8"],
    ["padding", 1, 7, "zero"],
    ["req_data", 8, 8, "u64"],
    ["resp_data", 16, 8, "u64"],
    ["fw_error", 24, 4, "u32"],
    ["vmm_error", 28, 4, "u32"],
  ],
} as const satisfies Layout;

export const SNP_REPORT_REQ = {
  name: "struct snp_report_req",
  size: 96,
  rows: [
    ["user_data", 0, 64, "bytes"],
    ["vmpl", 64, 4, "u32"],
    ["rsvd", 68, 28, "zero"],
  ],
} as const satisfies Layout;

export const SNP_EXT_REPORT_REQ = {
  name: "struct snp_ext_report_req",
  size: 112,
  rows: [
    ["user_data", 0, 64, "bytes"],
    ["vmpl", 64, 4, "u32"],
    ["rsvd", 68, 28, "zero"],
    ["certs_address", 96, 8, "u64"],
    ["certs_len", 104, 4, "u32"],
    ["padding", 108, 4, "zero"],
  ],
} as const satisfies Layout;

// struct snp_report_resp is 4000 opaque bytes; what is in them: SEV-SNP ABI 1.58, table 25 (MSG_REPORT_RSP)
export const SNP_REPORT_RESP = {
  name: "MSG_REPORT_RSP",
  size: 4000,
  rows: [
    ["status", 0, 4, "u32"],
    ["report_size", 4, 4, "u32"],
    ["rsvd", 8, 24, "zero"],
    ["report", 32, 3968, "bytes"],
  ],
} as const satisfies Layout;

export const SNP_DERIVED_KEY_REQ = {
  name: "struct snp_derived_key_req",
  size: 32,
  rows: [
    ["root_key_select", 0, 4, "u32"],
    ["rsvd", 4, 4, "zero"],
    ["guest_field_select", 8, 8, "u64"],
    ["vmpl", 16, 4, "u32"],
    ["guest_svn", 20, 4, "u32"],
    ["tcb_version", 24, 8, "u64"],
  ],
} as const satisfies Layout;

// SEV-SNP ABI 1.58, table 21 (MSG_KEY_RSP)
export const SNP_DERIVED_KEY_RESP = {
  name: "struct snp_derived_key_resp",
  size: 64,
  rows: [
    ["status", 0, 4, "u32"],
    ["rsvd", 4, 28, "zero"],
    ["key", 32, 32, "bytes"],
  ],
} as const satisfies Layout;

// include/uapi/linux/tdx-guest.h
export const TDX_REPORT_REQ = {
  name: "struct tdx_report_req",
  size: 1088,
  rows: [
    ["reportdata", 0, 64, "bytes"],
    ["tdreport", 64, 1024, "bytes"],
  ],
} as const satisfies Layout;

// include/linux/socket.h
export const UCRED = {
  name: "struct ucred",
  size: 12,
  rows: [
    ["pid", 0, 4, "i32"],
    ["uid", 4, 4, "u32"],
    ["gid", 8, 4, "u32"],
  ],
} as const satisfies Layout;

// include/uapi/linux/un.h
export const SOCKADDR_UN = {
  name: "struct sockaddr_un",
  size: 110,
  rows: [
    ["sun_family", 0, 2, "u16"],
    ["sun_path", 2, 108, "bytes"],
  ],
} as const satisfies Layout;

// include/uapi/linux/resource.h: struct rlimit64
export const RLIMIT = {
  name: "struct rlimit64",
  size: 16,
  rows: [
    ["rlim_cur", 0, 8, "u64"],
    ["rlim_max", 8, 8, "u64"],
  ],
} as const satisfies Layout;

// include/uapi/linux/dm-ioctl.h: the header of every request to device mapper; targets follow
export const DM_IOCTL = {
  name: "struct dm_ioctl",
  size: 312,
  rows: [
    ["version_major", 0, 4, "u32"],
    ["version_minor", 4, 4, "u32"],
    ["version_patch", 8, 4, "u32"],
    ["data_size", 12, 4, "u32"],
    ["data_start", 16, 4, "u32"],
    ["target_count", 20, 4, "u32"],
    ["open_count", 24, 4, "i32"],
    ["flags", 28, 4, "u32"],
    ["event_nr", 32, 4, "u32"],
    ["padding", 36, 4, "zero"],
    ["dev", 40, 8, "u64"],
    ["device_name", 48, 128, "bytes"],
    ["uuid", 176, 129, "bytes"],
    ["data", 305, 7, "zero"],
  ],
} as const satisfies Layout;

// include/uapi/linux/dm-ioctl.h: one target of a table; its parameters follow as a string
export const DM_TARGET_SPEC = {
  name: "struct dm_target_spec",
  size: 40,
  rows: [
    ["sector_start", 0, 8, "u64"],
    ["length", 8, 8, "u64"],
    ["status", 16, 4, "i32"],
    ["next", 20, 4, "u32"],
    ["target_type", 24, 16, "bytes"],
  ],
} as const satisfies Layout;

// include/uapi/linux/dm-ioctl.h: one device of a list; its name follows as a string
export const DM_NAME_LIST = {
  name: "struct dm_name_list",
  size: 12,
  rows: [
    ["dev", 0, 8, "u64"],
    ["next", 8, 4, "u32"],
  ],
} as const satisfies Layout;

type Name<L extends Layout> = Exclude<L["rows"][number], readonly [string, number, number, "zero"]>[0];
type NumberName<L extends Layout> = Extract<
  L["rows"][number],
  readonly [string, number, number, "u8" | "u16" | "u32" | "i32"]
>[0];
type WideName<L extends Layout> = Extract<L["rows"][number], readonly [string, number, number, "u64"]>[0];
type BytesName<L extends Layout> = Extract<L["rows"][number], readonly [string, number, number, "bytes"]>[0];

/** A structure in memory that native code may read and write; little-endian as the machines it is for. */
export class Struct<L extends Layout> {
  readonly bytes: Buffer;
  readonly #layout: L;

  /** @param bytes existing memory; by default a structure of zeros of its own */
  constructor(layout: L, bytes: Buffer = Buffer.alloc(layout.size)) {
    if (bytes.length < layout.size)
      throw new RangeError(`${layout.name} takes ${layout.size} bytes, not ${bytes.length}`);
    this.#layout = layout;
    this.bytes = bytes.subarray(0, layout.size);
  }

  #row(name: Name<L>): Row {
    const row = this.#layout.rows.find(([candidate]) => candidate === name);
    if (row === undefined) throw new RangeError(`${this.#layout.name} has no ${name}`);
    return row;
  }

  get(name: NumberName<L>): number {
    const [, offset, size, kind] = this.#row(name);
    return kind === "i32" ? this.bytes.readInt32LE(offset) : this.bytes.readUIntLE(offset, size);
  }

  set(name: NumberName<L>, value: number): this {
    const [, offset, size, kind] = this.#row(name);
    if (kind === "i32") this.bytes.writeInt32LE(value, offset);
    else this.bytes.writeUIntLE(value, offset, size);
    return this;
  }

  getWide(name: WideName<L>): bigint {
    return this.bytes.readBigUInt64LE(this.#row(name)[1]);
  }

  setWide(name: WideName<L>, value: bigint): this {
    this.bytes.writeBigUInt64LE(value, this.#row(name)[1]);
    return this;
  }

  /** The field's own memory, not a copy. */
  slice(name: BytesName<L>): Buffer {
    const [, offset, size] = this.#row(name);
    return this.bytes.subarray(offset, offset + size);
  }
}

/** A request number of ioctl(2) for a structure that goes both ways (include/uapi/asm-generic/ioctl.h). */
export function iowr(type: string, number: number, size: number): number {
  return ((3 << 30) | (size << 16) | (type.charCodeAt(0) << 8) | number) >>> 0;
}

export const SNP_GET_REPORT = iowr("S", 0, SNP_GUEST_REQUEST.size);
export const SNP_GET_DERIVED_KEY = iowr("S", 1, SNP_GUEST_REQUEST.size);
export const SNP_GET_EXT_REPORT = iowr("S", 2, SNP_GUEST_REQUEST.size);
export const TDX_CMD_GET_REPORT0 = iowr("T", 1, TDX_REPORT_REQ.size);
