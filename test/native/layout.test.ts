import assert from "node:assert/strict";
import * as layout from "../../native/layout.ts";
import type { Layout, RowKind } from "../../native/layout.ts";

const SIZES: Readonly<Partial<Record<RowKind, number>>> = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8 };

function isLayout(value: unknown): value is Layout {
  return typeof value === "object" && value !== null && "rows" in value;
}

describe("C layouts", () => {
  const exported: readonly unknown[] = Object.values(layout);
  const structures = exported.filter(isLayout);

  it("are all looked at", () => {
    assert.ok(structures.length >= 10);
  });

  for (const { name, size, rows } of structures)
    it(`${name}: the rows tile ${size} bytes, aligned as C aligns them`, () => {
      let end = 0;
      for (const [field, offset, length, kind] of rows) {
        assert.equal(offset, end, field);
        assert.equal(SIZES[kind] ?? length, length, field);
        if (SIZES[kind] !== undefined) assert.equal(offset % length, 0, field);
        end += length;
      }
      assert.equal(end, size);
    });

  it("give the request numbers of the kernel's headers", () => {
    assert.equal(layout.SNP_GET_REPORT, 0xc0205300);
    assert.equal(layout.SNP_GET_DERIVED_KEY, 0xc0205301);
    assert.equal(layout.SNP_GET_EXT_REPORT, 0xc0205302);
    assert.equal(layout.TDX_CMD_GET_REPORT0, 0xc4405401);
  });

  it("read back what was written, in place", () => {
    const request = new layout.Struct(layout.SNP_EXT_REPORT_REQ);
    request.set("vmpl", 3).setWide("certs_address", 0x7fff_1234_5678_9000n).set("certs_len", 0x4000);
    request.slice("user_data").fill(0xaa);
    assert.equal(request.get("vmpl"), 3);
    assert.equal(request.getWide("certs_address"), 0x7fff_1234_5678_9000n);
    assert.equal(request.bytes.readUInt32LE(104), 0x4000);
    assert.ok(request.bytes.subarray(0, 64).every((byte) => byte === 0xaa));
    assert.ok(request.bytes.subarray(68, 96).every((byte) => byte === 0));
  });

  it("refuse memory that is too small", () => {
    assert.throws(() => new layout.Struct(layout.UCRED, Buffer.alloc(11)), RangeError);
  });
});
