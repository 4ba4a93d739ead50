/**
 * Structure-aware mutants of evidence that is right: of the report, before and after it is signed, of the certificate
 * table, of certificates and of collateral. For property tests and for the long run (`test/fuzz/attest.ts`).
 */
import * as fc from "fast-check";
import type { Appraisal } from "../../../agent/attest/appraise.ts";
import { REPORT } from "../../../agent/attest/snp/report.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { amdCa, certificateTable, encodeReport, signReportBytes } from "../../twin/amd-ca.ts";
import { MEASUREMENT, strictPolicy } from "./policies.ts";

const ca = amdCa("Genoa");
const vek = ca.issue();
const REPORT_DATA = new Uint8Array(64).fill(0x11);
const HOST_DATA = new Uint8Array(32).fill(0x22);

export const unsigned: Uint8Array = encodeReport(
  {
    product: "Genoa",
    reportData: REPORT_DATA,
    hostData: HOST_DATA,
    measurement: Buffer.from(MEASUREMENT, "hex"),
  },
  vek,
);

const evidence = {
  tee: "sev-snp",
  report: signReportBytes(unsigned, vek.key),
  auxiliary: new Uint8Array(certificateTable({ vcek: vek.der })),
  eventLog: new Uint8Array(0),
};

export const right: Appraisal = {
  evidence,
  collateral: { snp: { Genoa: ca.collateral() } },
  policy: strictPolicy(ca),
  at: Date.parse("2026-06-01T00:00:00Z"),
  expect: { reportData: REPORT_DATA, initdata: { sha256: HOST_DATA, sha384: new Uint8Array(48) } },
  crypto: nodeCrypto(),
};

export function resign(bytes: Uint8Array): Uint8Array {
  return signReportBytes(bytes, vek.key);
}

/** A change of bytes that changes them; undefined where it would not. */
export type Mutation = (bytes: Uint8Array) => Uint8Array | undefined;

const poke = fc
  .record({ at: fc.nat(), flip: fc.integer({ min: 1, max: 255 }) })
  .map(({ at, flip }): Mutation => (bytes) => {
    if (bytes.length === 0) return undefined;
    const changed = Uint8Array.from(bytes);
    const i = at % bytes.length;
    changed[i] = (changed[i] ?? 0) ^ flip;
    return changed;
  });

const fill = fc
  .record({ at: fc.nat(), length: fc.integer({ min: 1, max: 80 }), value: fc.constantFrom(0, 0xff, 0x80, 1) })
  .map(({ at, length, value }): Mutation => (bytes) => {
    const changed = Uint8Array.from(bytes).fill(
      value,
      at % (bytes.length + 1),
      (at % (bytes.length + 1)) + length,
    );
    return Buffer.compare(changed, bytes) === 0 ? undefined : changed;
  });

const cut = fc.nat().map(
  (to): Mutation =>
    (bytes) =>
      bytes.length === 0 ? undefined : bytes.slice(0, to % bytes.length),
);

const append = fc.uint8Array({ minLength: 1, maxLength: 64 }).map(
  (more): Mutation =>
    (bytes) =>
      Buffer.concat([bytes, more]),
);

const splice = fc
  .record({ at: fc.nat(), drop: fc.integer({ min: 1, max: 40 }), insert: fc.uint8Array({ maxLength: 40 }) })
  .map(({ at, drop, insert }): Mutation => (bytes) => {
    const from = at % (bytes.length + 1);
    const changed = Buffer.concat([bytes.subarray(0, from), insert, bytes.subarray(from + drop)]);
    return Buffer.compare(changed, bytes) === 0 ? undefined : changed;
  });

const copy = fc
  .record({ from: fc.nat(), to: fc.nat(), length: fc.integer({ min: 1, max: 100 }) })
  .map(({ from, to, length }): Mutation => (bytes) => {
    const changed = Uint8Array.from(bytes);
    changed.copyWithin(
      to % (bytes.length + 1),
      from % (bytes.length + 1),
      (from % (bytes.length + 1)) + length,
    );
    return Buffer.compare(changed, bytes) === 0 ? undefined : changed;
  });

export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 4, arbitrary: poke },
  { weight: 2, arbitrary: fill },
  { weight: 1, arbitrary: cut },
  { weight: 1, arbitrary: append },
  { weight: 2, arbitrary: splice },
  { weight: 1, arbitrary: copy },
);

/** Another value for one field of the report, by the table. */
export const fieldMutation: fc.Arbitrary<Mutation> = fc
  .record({ row: fc.nat(REPORT.rows.length - 1), value: fc.uint8Array({ minLength: 64, maxLength: 64 }) })
  .map(({ row, value }): Mutation => (bytes) => {
    const [, offset, size] = REPORT.rows[row] ?? REPORT.rows[0];
    if (bytes.length < offset + size) return undefined;
    const changed = Uint8Array.from(bytes);
    changed.set(value.subarray(0, Math.min(size, 64)), offset);
    return Buffer.compare(changed, bytes) === 0 ? undefined : changed;
  });

export type Place = "report" | "table" | "ark" | "ask" | "crl";
export const PLACES = ["report", "table", "ark", "ask", "crl"] as const satisfies readonly Place[];

/** The right appraisal with one part of it mutated; undefined where the mutation changed nothing. */
export function mutate(place: Place, mutation_: Mutation): Appraisal | undefined {
  if (place === "report" || place === "table") {
    const name = place === "report" ? "report" : "auxiliary";
    const changed = mutation_(evidence[name]);
    return changed && { ...right, evidence: { ...evidence, [name]: changed } };
  }
  const files = right.collateral.snp.Genoa;
  const before = files?.[place];
  const changed = before === undefined ? undefined : mutation_(before);
  if (files === undefined || changed === undefined) return undefined;
  return { ...right, collateral: { snp: { Genoa: { ...files, [place]: changed } } } };
}
