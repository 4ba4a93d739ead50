/**
 * The certificate table of an extended report (GHCB specification §4.1.8.1): entries {GUID, offset, length} and a zero
 * entry. The host writes it, so nothing in it is to be believed: entries must lie inside, and may not overlap.
 */
import { equalBytes, isZero, Reader } from "../bytes.ts";
import { Malformed } from "../malformed.ts";

const MAX_ENTRIES = 16;
const MAX_TABLE = 64 * 1024;

/** GUIDs as they lie in memory: the first three groups little-endian (RFC 9562 §4, "variant 2" of Microsoft). */
export const GUID = {
  vcek: "63da758d-e664-4564-adc5-f4b93be8accd",
  vlek: "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
  ask: "4ab7b379-bbac-4fe4-a02f-05aef327c782",
  ark: "c0b406a4-a803-4952-9743-3fb6014cd0ae",
} as const;
export type CertificateKind = keyof typeof GUID;
const CERTIFICATE_KINDS = ["vcek", "vlek", "ask", "ark"] as const satisfies readonly CertificateKind[];

/** Both byte orders are in the field: tools of the host wrote the text order, and the ABI has the mixed one. */
export function guidBytes(guid: string, order: "mixed" | "text"): Uint8Array {
  const text = Uint8Array.from(guid.replaceAll("-", "").match(/../g) ?? [], (pair) =>
    Number.parseInt(pair, 16),
  );
  if (order === "text") return text;
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, ...rest] = text;
  return Uint8Array.of(d, c, b, a, f, e, h, g, ...rest);
}

const KINDS = CERTIFICATE_KINDS.map((kind) => ({
  kind,
  guids: [guidBytes(GUID[kind], "mixed"), guidBytes(GUID[kind], "text")],
}));

export type CertificateTable = { readonly [Kind in CertificateKind]?: Uint8Array };

/**
 * Certificates by kind, as views; entries of other GUIDs are skipped.
 * @throws Malformed
 */
export function parseCertificateTable(bytes: Uint8Array): CertificateTable {
  const what = "SNP certificate table";
  if (bytes.length > MAX_TABLE) throw new Malformed("TOO_LARGE", what, 0, `over ${MAX_TABLE} bytes`);
  const reader = new Reader(bytes, what);
  const ranges: { from: number; to: number }[] = [];
  const table: { [Kind in CertificateKind]?: Uint8Array } = {};
  for (let i = 0; ; i++) {
    if (i > MAX_ENTRIES) reader.fail("TOO_LARGE", `over ${MAX_ENTRIES} entries`);
    const at = reader.offset;
    const guid = reader.take(16, "GUID");
    const offset = reader.u32le("offset");
    const length = reader.u32le("length");
    if (isZero(guid)) {
      if (offset !== 0 || length !== 0) throw new Malformed("UNEXPECTED", what, at, "last entry is not zero");
      break;
    }
    if (length === 0 || offset > bytes.length || length > bytes.length - offset)
      throw new Malformed(
        "TRUNCATED",
        what,
        at,
        `entry [${offset}, +${length}] is not inside ${bytes.length} bytes`,
      );
    ranges.push({ from: offset, to: offset + length });
    const kind = KINDS.find(({ guids }) => guids.some((known) => equalBytes(known, guid)))?.kind;
    if (kind === undefined) continue;
    if (table[kind] !== undefined) throw new Malformed("DUPLICATE", what, at, `two entries of ${kind}`);
    table[kind] = bytes.subarray(offset, offset + length);
  }
  ranges.push({ from: 0, to: reader.offset });
  const sorted = ranges.toSorted((a, b) => a.from - b.from);
  sorted.forEach(({ from }, i) => {
    if (i > 0 && from < (sorted[i - 1]?.to ?? 0))
      throw new Malformed("UNEXPECTED", what, from, "entries overlap");
  });
  return table;
}
