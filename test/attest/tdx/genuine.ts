/** Intel's genuine collateral from the vectors, in the verifier's form, and a policy that lets the TCB alone decide. */
import { readFileSync } from "node:fs";
import { TCB_STATUS } from "../../../agent/attest/tdx/tcb.ts";
import { type TdxPolicy, tdxPolicy } from "../../../agent/attest/tdx/policy.ts";
import type { TdxCollateral } from "../../../agent/attest/tdx/verify.ts";
import type { SignedDocument } from "../../../agent/attest/tdx/facts.ts";

export function vector(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../../vectors/${path}`, import.meta.url)));
}

const text = (path: string): string =>
  readFileSync(new URL(`../../vectors/${path}`, import.meta.url), "utf8");
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

interface Bundled {
  readonly root_ca_crl: string;
  readonly pck_crl: string;
  readonly tcb_info: string;
  readonly tcb_info_signature: string;
  readonly tcb_info_issuer_chain: string;
  readonly qe_identity: string;
  readonly qe_identity_signature: string;
  readonly qe_identity_issuer_chain: string;
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file of this repository
const bundle = (name: string): Bundled => JSON.parse(text(`dcap-qvl/${name}`)) as Bundled;
const near = bundle("near/quote_collateral.json");
const b0c0 = bundle("sample/tdx_quote_collateral.json");
const outdated = bundle("sample/tdx_quote_outdated_collateral.json");

/** PEM of today's TCB signer (2025-05-06 to 2032) and of the one before it (to 2025-05-21). */
export const SIGNER_CHAIN = bytes(near.tcb_info_issuer_chain);
export const OLD_SIGNER_CHAIN = vector("go-tdx-guest/testdata/tcbInfoIssuerChain.pem");

const tcbInfo = (from: Bundled): SignedDocument => ({
  body: bytes(`{"tcbInfo":${from.tcb_info},"signature":"${from.tcb_info_signature}"}`),
  issuerChain: bytes(from.tcb_info_issuer_chain),
});
const qeIdentity = (from: Bundled): SignedDocument => ({
  body: bytes(`{"enclaveIdentity":${from.qe_identity},"signature":"${from.qe_identity_signature}"}`),
  issuerChain: bytes(from.qe_identity_issuer_chain),
});
const hex = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value, "hex"));
const signed = (path: string, issuerChain = SIGNER_CHAIN): SignedDocument => ({
  body: vector(path),
  issuerChain,
});
const rootCrl = hex(near.root_ca_crl);

const fromBundle = (fmspc: string, from: Bundled): TdxCollateral => ({
  tcbInfo: new Map([[fmspc, tcbInfo(from)]]),
  qeIdentity: qeIdentity(from),
  rootCrl: hex(from.root_ca_crl),
  pckCrl: { platform: hex(from.pck_crl) },
});

/** By name: when and where from; each is current at its time. */
export const GENUINE = {
  near: fromBundle("20a06f000000", near),
  b0c0: fromBundle("b0c06f000000", b0c0),
  outdated: fromBundle("90c06f000000", outdated),
  googleV5: {
    ...fromBundle("90c06f000000", outdated),
    tcbInfo: new Map([["90c06f000000", signed("go-tdx-guest/testdata/sample_tcbinfo_response_v5")]]),
  },
  june2025: {
    tcbInfo: new Map([
      ["00806f050000", signed("x-automata-dcap/0625/tcbinfov3_00806f050000.json")],
      ["90c06f000000", signed("x-automata-dcap/0625/tcbinfov3_90C06F000000.json")],
    ]),
    qeIdentity: signed("x-automata-dcap/0625/qe_td.json"),
    rootCrl,
    pckCrl: { platform: hex(b0c0.pck_crl) },
  },
  july2025: {
    tcbInfo: new Map([["00806f050000", signed("x-automata-dcap/solana/tcb_info_v3_with_tdx_module.json")]]),
    qeIdentity: signed("x-automata-dcap/solana/qe_identity.json"),
    rootCrl: vector("x-automata-dcap/solana/intel_root_ca_crl.der"),
    pckCrl: { platform: vector("x-automata-dcap/solana/pck_platform_crl.der") },
  },
  october2025: {
    tcbInfo: new Map([["00806f050000", signed("x-automata-dcap/1025/tcb_info.json")]]),
    qeIdentity: signed("x-automata-dcap/1025/identity.json"),
    rootCrl,
    pckCrl: { platform: vector("x-automata-dcap/1025/pck_crl.der") },
  },
  june2023: {
    tcbInfo: new Map([
      ["50806f000000", signed("go-tdx-guest/testdata/sample_tcbInfo_response", OLD_SIGNER_CHAIN)],
    ]),
    qeIdentity: signed("go-tdx-guest/testdata/sample_qeIdentity_response", OLD_SIGNER_CHAIN),
    rootCrl: vector("go-tdx-guest/testdata/rootcrl.der"),
    pckCrl: { platform: vector("go-tdx-guest/testdata/pckcrl") },
  },
  /** For another FMSPC than any quote's here. */
  trustee: {
    tcbInfo: new Map([["00a06d080000", signed("trustee/tdx/tcbInfo.json")]]),
    qeIdentity: signed("trustee/tdx/enclaveIdentity.json"),
    rootCrl,
    pckCrl: { platform: vector("x-automata-dcap/1025/pck_crl.der") },
  },
} as const satisfies Record<string, TdxCollateral>;

const unchecked = { unchecked: "genuine quotes of strangers: measurements are theirs" };

/** @param accepted which TCB statuses are let through; by default every one that a policy may name */
export function strangersPolicy(
  accepted: readonly string[] = TCB_STATUS.filter(
    (status) => status !== "Revoked" && status !== "NotSupported",
  ),
): TdxPolicy {
  return tdxPolicy.parse({
    root: "intel",
    tcb: { accepted, minimumDate: unchecked, minimumEvaluationDataNumber: 15, advisories: unchecked },
    collateral: unchecked,
    platform: { allowed: unchecked, denied: [], configuration: unchecked },
    attributes: { required: [], allowed: ["SEPT_VE_DISABLE", "PKS"] },
    xfam: { allowed: "0x0000000000061fff" },
    mrSeam: unchecked,
    mrTd: unchecked,
    mrConfigId: unchecked,
    mrOwner: unchecked,
    mrOwnerConfig: unchecked,
    rtmr: [unchecked, unchecked, unchecked, unchecked],
    serviceTd: "none",
    devices: "none",
    eventLog: unchecked,
  });
}
