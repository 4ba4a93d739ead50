/** Platforms and collateral that are wrong in one thing. */
import type { TdxInput } from "../../../agent/attest/tdx/verify.ts";
import {
  defaultQeIdentity,
  defaultTcbInfo,
  newKey,
  NEW_TCB,
  pem,
  PPID,
  SERIAL,
  type Issued,
  type QuoteOptions,
} from "../../twin/intel-ca.ts";
import * as der from "../../twin/der.ts";
import {
  bytesOf,
  ca,
  changedPolicy,
  changedQeIdentity,
  changedTcbInfo,
  COLLATERAL,
  signedBy,
  twinPolicy,
  type Cases,
} from "./twin.ts";

const year2030 = { notBefore: new Date("2030-01-01T00:00:00Z") };
const late = new Date("2026-06-02T00:00:00Z");
const chainOf = (...certificates: Uint8Array[]): QuoteOptions => ({ chain: pem(...certificates) });

/** A chain under a CA that is made for the test; the quote is signed by its PCK. */
function under(
  options: Parameters<typeof ca.ca>[1],
  pckOptions: Parameters<typeof ca.pck>[0] = {},
): QuoteOptions {
  const platform = ca.ca("platform", options);
  const pck = ca.pck({ signWith: platform.key, ...pckOptions });
  return { pck, chain: pem(pck.der, platform.der, ca.root.der) };
}

function revoking(signer: Issued, which: "tcbInfo" | "qeIdentity"): Partial<TdxInput> {
  const { collateral } = signedBy(which, signer);
  return { collateral: { ...(collateral ?? COLLATERAL), rootCrl: ca.crl("root", { revoked: [77] }) } };
}

export const COLLATERAL_CASES: Cases = [
  ["tdx.pck.format", "two certificates", { quote: () => ca.quote(chainOf(ca.pck().der, ca.platform.der)) }],
  [
    "tdx.pck.format",
    "four",
    { quote: () => ca.quote(chainOf(ca.pck().der, ca.platform.der, ca.root.der, ca.root.der)) },
  ],
  ["tdx.pck.format", "text before", { quote: { chain: "x" } }],
  [
    "tdx.pck.format",
    "no SGX extension",
    { quote: { pck: ca.pck({ extensions: (list) => list.slice(0, 2) }) } },
  ],
  [
    "tdx.pck.format",
    "SGX extension twice",
    { quote: { pck: ca.pck({ extensions: (list) => [...list, ...list.slice(2)] }) } },
  ],
  [
    "tdx.pck.format",
    "FMSPC twice",
    { quote: { pck: ca.pck({ fields: (list) => [...list, ...list.slice(3, 4)] }) } },
  ],
  [
    "tdx.pck.format",
    "no FMSPC",
    { quote: { pck: ca.pck({ fields: (list) => list.filter((_, i) => i !== 3) }) } },
  ],
  [
    "tdx.pck.format",
    "no TCB",
    { quote: { pck: ca.pck({ fields: (list) => list.filter((_, i) => i !== 1) }) } },
  ],
  ["tdx.pck.format", "PPID of 15 bytes", { quote: { pck: ca.pck({ ppid: "00".repeat(15) }) } }],
  [
    "tdx.pck.format",
    "15 TCB components",
    { quote: { pck: ca.pck({ tcb: { components: NEW_TCB.components.slice(1), pceSvn: 13 } }) } },
  ],
  [
    "tdx.pck.format",
    "a component over 255",
    { quote: { pck: ca.pck({ tcb: { components: [256, ...NEW_TCB.components.slice(1)], pceSvn: 13 } }) } },
  ],
  [
    "tdx.pck.format",
    "an unknown field",
    {
      quote: {
        pck: ca.pck({
          fields: (list) => [...list, der.sequence(der.oid("1.2.840.113741.1.13.1.9"), der.nul())],
        }),
      },
    },
  ],
  ["tdx.pck.root", "another root", { input: changedPolicy({ root: "intel" }) }],
  ["tdx.pck.names", "leaf", { quote: { pck: ca.pck({ subject: "Intel SGX PCK Processor CA" }) } }],
  [
    "tdx.pck.constraints",
    "CA is none",
    { quote: () => ca.quote(under({ ca: false, key: ca.platform.key })), also: ["tdx.pck-crl.signature"] },
  ],
  [
    "tdx.pck.constraints",
    "CA without keyCertSign",
    { quote: () => ca.quote(under({ usage: [6], key: ca.platform.key })) },
  ],
  [
    "tdx.pck.constraints",
    "issuer's name differs",
    { quote: { pck: ca.pck({ issuer: "Intel SGX PCK Processor CA" }) } },
  ],
  [
    "tdx.pck.constraints",
    "unknown critical extension",
    {
      quote: { pck: ca.pck({ extensions: (list) => [...list, der.extension("1.2.3.4", der.nul(), true)] }) },
    },
  ],
  ["tdx.pck.constraints", "PCK without digitalSignature", { quote: { pck: ca.pck({ usage: [1] }) } }],
  ["tdx.pck.signature", "PCK certificate by another key", { quote: { pck: ca.pck({ signWith: newKey() }) } }],
  [
    "tdx.pck.signature",
    "CA by another key",
    { quote: () => ca.quote(under({ signWith: newKey(), key: ca.platform.key })) },
  ],
  ["tdx.pck.dates", "PCK certificate is not valid yet", { quote: { pck: ca.pck(year2030) } }],
  [
    "tdx.pck.dates",
    "PCK certificate has expired",
    { quote: { pck: ca.pck({ notAfter: new Date("2026-05-31T23:59:59Z") }) } },
  ],
  [
    "tdx.pck.dates",
    "CA has expired",
    { quote: () => ca.quote(under({ key: ca.platform.key, notAfter: new Date("2026-05-31T00:00:00Z") })) },
  ],
  [
    "tdx.pck.ca-revoked",
    "Platform CA",
    { input: () => ({ collateral: ca.collateral({ rootCrl: { revoked: [SERIAL.platform] } }) }) },
  ],
  [
    "tdx.pck.revoked",
    "PCK certificate",
    { input: () => ({ collateral: ca.collateral({ pckCrl: { revoked: [9, SERIAL.pck] } }) }) },
  ],

  [
    "tdx.root-crl.format",
    "missing",
    { input: () => ({ collateral: { ...COLLATERAL, rootCrl: undefined } }) },
  ],
  ["tdx.root-crl.format", "junk", { input: () => ({ collateral: { ...COLLATERAL, rootCrl: bytesOf(1) } }) }],
  [
    "tdx.root-crl.signature",
    "by another key",
    { input: () => ({ collateral: ca.collateral({ rootCrl: { signWith: newKey() } }) }) },
  ],
  [
    "tdx.root-crl.signature",
    "the Platform CA's in its place",
    { input: () => ({ collateral: { ...COLLATERAL, rootCrl: ca.crl("platform") } }) },
  ],
  [
    "tdx.root-crl.current",
    "of the past",
    {
      input: () => ({
        collateral: ca.collateral({ rootCrl: { nextUpdate: new Date("2026-06-01T00:00:00Z") } }),
      }),
    },
  ],
  [
    "tdx.root-crl.current",
    "of the future",
    { input: () => ({ collateral: ca.collateral({ rootCrl: { thisUpdate: late } }) }) },
  ],
  [
    "tdx.pck-crl.format",
    "missing",
    { input: () => ({ collateral: { ...COLLATERAL, pckCrl: { processor: ca.crl("processor") } } }) },
  ],
  [
    "tdx.pck-crl.signature",
    "by another key",
    { input: () => ({ collateral: ca.collateral({ pckCrl: { signWith: newKey() } }) }) },
  ],
  [
    "tdx.pck-crl.signature",
    "the Processor CA's in its place",
    { input: () => ({ collateral: { ...COLLATERAL, pckCrl: { platform: ca.crl("processor") } } }) },
  ],
  [
    "tdx.pck-crl.current",
    "of the past",
    {
      input: () => ({
        collateral: ca.collateral({ pckCrl: { nextUpdate: new Date("2026-05-31T00:00:00Z") } }),
      }),
    },
  ],
  [
    "tdx.pck-crl.current",
    "of the future",
    { input: () => ({ collateral: ca.collateral({ pckCrl: { thisUpdate: late } }) }) },
  ],

  ["tdx.qe.signature", "by another key", { quote: { signQeReportWith: newKey() } }],
  [
    "tdx.qe.attestation-key",
    "another attestation key's digest",
    { quote: { qeReport: { reportData: bytesOf(1, 64) } } },
  ],
  [
    "tdx.qe.debug",
    "DEBUG",
    {
      quote: { qeReport: { attributes: Buffer.from("1300000000000000e700000000000000", "hex") } },
      also: ["tdx.qe.identity"],
    },
  ],
  ["tdx.qe.identity", "MRSIGNER", { quote: { qeReport: { mrSigner: bytesOf(1, 32) } } }],
  ["tdx.qe.identity", "ISVPRODID", { quote: { qeReport: { isvProdId: 1 } } }],
  ["tdx.qe.identity", "MISCSELECT", { quote: { qeReport: { miscSelect: bytesOf(1, 4) } } }],
  [
    "tdx.qe.identity",
    "ATTRIBUTES",
    { quote: { qeReport: { attributes: Buffer.from("1100000000000001e700000000000000", "hex") } } },
  ],

  [
    "tdx.tcb-info.format",
    "missing",
    { input: () => ({ collateral: { ...COLLATERAL, tcbInfo: new Map() } }) },
  ],
  ["tdx.tcb-info.format", "of SGX", { input: changedTcbInfo({ id: "SGX" }) }],
  ["tdx.tcb-info.format", "of version 2", { input: changedTcbInfo({ version: 2 }) }],
  ["tdx.tcb-info.format", "without levels", { input: changedTcbInfo({ tcbLevels: [] }) }],
  [
    "tdx.tcb-info.format",
    "an unknown status",
    { input: changedTcbInfo({ tcbLevels: [{ ...defaultTcbInfo().tcbLevels[0], tcbStatus: "Fine" }] }) },
  ],
  [
    "tdx.tcb-info.signer",
    "another name",
    { input: () => signedBy("tcbInfo", ca.signer({ subject: "Intel SGX PCK Certificate" })) },
  ],
  [
    "tdx.tcb-info.signer",
    "not signed by the root",
    { input: () => signedBy("tcbInfo", ca.signer({ signWith: newKey() })) },
  ],
  [
    "tdx.tcb-info.signer",
    "without digitalSignature",
    { input: () => signedBy("tcbInfo", ca.signer({ usage: [1] })) },
  ],
  [
    "tdx.tcb-info.signer",
    "a PCK that was extracted",
    { input: () => signedBy("tcbInfo", ca.pck(), ca.platform) },
  ],
  [
    "tdx.tcb-info.signer",
    "a PCK that was extracted, under the root",
    { input: () => signedBy("tcbInfo", ca.pck()) },
  ],
  [
    "tdx.tcb-info.signer-dates",
    "expired",
    { input: () => signedBy("tcbInfo", ca.signer({ notAfter: new Date("2026-05-25T00:00:00Z") })) },
  ],
  [
    "tdx.tcb-info.signer-revoked",
    "revoked",
    { input: () => ({ ...revoking(ca.signer({ serial: 77 }), "tcbInfo") }) },
  ],
  [
    "tdx.tcb-info.signature",
    "by another key",
    { input: () => signedBy("tcbInfo", { der: ca.tcbSigner.der, key: newKey() }) },
  ],
  ["tdx.tcb-info.current", "of the past", { input: changedTcbInfo({ nextUpdate: "2026-06-01T00:00:00Z" }) }],
  ["tdx.tcb-info.current", "of the future", { input: changedTcbInfo({ issueDate: "2026-06-01T00:00:01Z" }) }],
  ["tdx.tcb-info.platform", "another FMSPC", { input: changedTcbInfo({ fmspc: "00906ed50000" }) }],
  ["tdx.tcb-info.platform", "another PCE-ID", { quote: { pck: ca.pck({ pceId: "0001" }) } }],
  [
    "tdx.qe-identity.format",
    "missing",
    { input: () => ({ collateral: { ...COLLATERAL, qeIdentity: undefined } }) },
  ],
  ["tdx.qe-identity.format", "of SGX's QE", { input: changedQeIdentity({ id: "QE" }) }],
  ["tdx.qe-identity.format", "of version 1", { input: changedQeIdentity({ version: 1 }) }],
  [
    "tdx.qe-identity.signer",
    "another name",
    { input: () => signedBy("qeIdentity", ca.signer({ subject: "x" })) },
  ],
  [
    "tdx.qe-identity.signer",
    "a PCK that was extracted",
    { input: () => signedBy("qeIdentity", ca.pck(), ca.platform) },
  ],
  [
    "tdx.qe-identity.signer-dates",
    "not valid yet",
    { input: () => signedBy("qeIdentity", ca.signer(year2030)) },
  ],
  [
    "tdx.qe-identity.signer-revoked",
    "revoked",
    { input: () => ({ ...revoking(ca.signer({ serial: 77 }), "qeIdentity") }) },
  ],
  [
    "tdx.qe-identity.signature",
    "by another key",
    { input: () => signedBy("qeIdentity", { der: ca.tcbSigner.der, key: newKey() }) },
  ],
  [
    "tdx.qe-identity.current",
    "of the past",
    { input: changedQeIdentity({ nextUpdate: "2026-06-01T00:00:00Z" }) },
  ],
  [
    "tdx.qe-identity.current",
    "of the future",
    { input: changedQeIdentity({ issueDate: "2026-06-01T00:00:01Z" }) },
  ],

  [
    "tdx.collateral.floor",
    "root CRL of before",
    {
      input: () => ({
        collateral: ca.collateral({ rootCrl: { thisUpdate: new Date("2026-05-19T00:00:00Z") } }),
      }),
    },
  ],
  [
    "tdx.collateral.floor",
    "QE identity of before",
    { input: changedQeIdentity({ issueDate: "2026-05-19T00:00:00Z" }) },
  ],
  [
    "tdx.tcb.evaluation-number",
    "both below the floor",
    {
      input: () => ({
        collateral: ca.collateral({
          tcbInfo: { ...defaultTcbInfo(), tcbEvaluationDataNumber: 19 },
          qeIdentity: { ...defaultQeIdentity(), tcbEvaluationDataNumber: 19 },
        }),
      }),
    },
  ],
  [
    "tdx.tcb.evaluation-equal",
    "of two evaluations",
    { input: changedTcbInfo({ tcbEvaluationDataNumber: 21 }) },
  ],
  ["tdx.tcb.module", "MRSIGNERSEAM", { quote: { td: { mrSignerSeam: bytesOf(1) } } }],
  ["tdx.tcb.module", "SEAMATTRIBUTES", { quote: { td: { seamAttributes: bytesOf(1, 8) } } }],
  [
    "tdx.tcb.module",
    "a version that Intel does not publish",
    {
      quote: { td: { teeTcbSvn: Uint8Array.from([7, 9, 3, ...bytesOf(0, 13)]) } },
      also: ["tdx.tcb.status", "tdx.tcb.date"],
    },
  ],
  [
    "tdx.tcb.status",
    "revoked",
    { input: changedTcbInfo({ tcbLevels: [{ ...defaultTcbInfo().tcbLevels[0], tcbStatus: "Revoked" }] }) },
  ],
  [
    "tdx.tcb.status",
    "configuration needed",
    {
      input: changedTcbInfo({
        tcbLevels: [{ ...defaultTcbInfo().tcbLevels[0], tcbStatus: "ConfigurationNeeded" }],
      }),
    },
  ],
  [
    "tdx.tcb.status",
    "no level",
    {
      quote: { pck: ca.pck({ tcb: { components: [...bytesOf(0, 16)], pceSvn: 1 } }) },
      also: ["tdx.tcb.date"],
    },
  ],
  [
    "tdx.tcb.current-status",
    "the module was taken back",
    { quote: { version: 5, bodyType: 3, td: { teeTcbSvn2: Uint8Array.from([6, 1, 3, ...bytesOf(0, 13)]) } } },
  ],
  [
    "tdx.tcb.date",
    "older than the floor",
    { input: changedPolicy({ tcb: { ...twinPolicy().tcb, minimumDate: "2025-03-14T00:00:00Z" } }) },
  ],
  [
    "tdx.tcb.advisories",
    "one that is open",
    {
      input: changedTcbInfo({
        tcbLevels: [{ ...defaultTcbInfo().tcbLevels[0], advisoryIDs: ["INTEL-SA-00002"] }],
      }),
    },
  ],
  ["tdx.platform.allowed", "not listed", { quote: { pck: ca.pck({ ppid: "ff".repeat(16) }) } }],
  [
    "tdx.platform.allowed",
    "denied",
    { input: changedPolicy({ platform: { ...twinPolicy().platform, denied: [PPID] } }) },
  ],
  [
    "tdx.platform.configuration",
    "cached keys",
    { quote: { pck: ca.pck({ configuration: [true, true, true] }) } },
  ],
];
