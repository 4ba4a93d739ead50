/** Every predicate of a TDX appraisal, with what it says. Codes are stable: they stand in audit logs and in policies' tests. */
export const TDX_PREDICATES = {
  "tdx.quote.format": "The quote is a well-formed TDX quote of version 4 or 5, with ECDSA P-256",
  "tdx.quote.reserved": "Reserved fields of header and QE report are zero",
  "tdx.quote.trailing": "After the quote there is nothing, or zeros",
  "tdx.quote.qe-vendor": "The quoting enclave's vendor is Intel",
  "tdx.quote.signature": "The attestation key signed header and TD report",

  "tdx.td.report-data": "The report data is what this request binds",
  "tdx.td.debug": "The TD is not debuggable",
  "tdx.td.attributes":
    "TD attributes: reserved bits zero, all required ones set, none set that is not allowed",
  "tdx.td.xfam": "Extended features: x87 and SSE, and none that is not allowed",
  "tdx.td.service-td": "Service TDs that are bound to the TD are allowed",
  "tdx.td.devices": "Devices that are assigned to the TD are allowed",
  "tdx.td.mr-seam": "The TDX module is one of those allowed",
  "tdx.td.mr-td": "The TD's build-time measurement (firmware) is one of those allowed",
  "tdx.td.mr-config-id": "MRCONFIGID is what the policy asks for (digest of the initdata)",
  "tdx.td.mr-owner": "MROWNER is one of those allowed",
  "tdx.td.mr-owner-config": "MROWNERCONFIG is one of those allowed",
  "tdx.td.rtmr0": "RTMR0 is one of those allowed",
  "tdx.td.rtmr1": "RTMR1 is one of those allowed",
  "tdx.td.rtmr2": "RTMR2 is one of those allowed",
  "tdx.td.rtmr3": "RTMR3 is one of those allowed",
  "tdx.event-log.format": "The event log is well-formed",
  "tdx.event-log.replay": "The event log replays to RTMR0 to RTMR3",
  "tdx.event-log.events": "Events whose digest their own data define have that digest",

  "tdx.pck.format":
    "The quote carries PCK certificate, its CA and the root, with a well-formed SGX extension",
  "tdx.pck.root": "The root is one that the policy trusts",
  "tdx.pck.names": "The chain is PCK certificate, Platform or Processor CA, Intel SGX Root CA",
  "tdx.pck.constraints":
    "Each issuer may issue: name, basicConstraints, pathLenConstraint, keyUsage, algorithm",
  "tdx.pck.signature": "Each certificate is signed by the one above it",
  "tdx.pck.dates": "Each certificate of the chain is valid at the time",
  "tdx.pck.ca-revoked": "The PCK's CA is not revoked",
  "tdx.pck.revoked": "The PCK certificate is not revoked",

  "tdx.root-crl.format": "The root's CRL is there and well-formed",
  "tdx.root-crl.signature": "The root's CRL is signed by the root",
  "tdx.root-crl.current": "The root's CRL is current",
  "tdx.pck-crl.format": "The CRL of the PCK's CA is there and well-formed",
  "tdx.pck-crl.signature": "The CRL of the PCK's CA is signed by it",
  "tdx.pck-crl.current": "The CRL of the PCK's CA is current",

  "tdx.qe.signature": "The PCK signed the quoting enclave's report",
  "tdx.qe.attestation-key": "The quoting enclave's report names the attestation key",
  "tdx.qe.debug": "The quoting enclave is not debuggable",
  "tdx.qe.identity": "The quoting enclave is Intel's: masked MISCSELECT and ATTRIBUTES, MRSIGNER, ISVPRODID",

  "tdx.tcb-info.format": "TCB info for the platform's FMSPC is there and well-formed",
  "tdx.tcb-info.signer": "TCB info's signer is Intel SGX TCB Signing under the trusted root",
  "tdx.tcb-info.signer-dates": "TCB info's signer is valid at the time",
  "tdx.tcb-info.signer-revoked": "TCB info's signer is not revoked",
  "tdx.tcb-info.signature": "TCB info is signed by its signer",
  "tdx.tcb-info.current": "TCB info is current",
  "tdx.tcb-info.platform": "TCB info is for the platform's FMSPC and PCE-ID",
  "tdx.qe-identity.format": "The QE identity is there and well-formed",
  "tdx.qe-identity.signer": "The QE identity's signer is Intel SGX TCB Signing under the trusted root",
  "tdx.qe-identity.signer-dates": "The QE identity's signer is valid at the time",
  "tdx.qe-identity.signer-revoked": "The QE identity's signer is not revoked",
  "tdx.qe-identity.signature": "The QE identity is signed by its signer",
  "tdx.qe-identity.current": "The QE identity is current",

  "tdx.collateral.floor": "No part of the collateral is older than what the policy's author had seen",
  "tdx.tcb.evaluation-number":
    "TCB info's and QE identity's tcbEvaluationDataNumber are not below the policy's floor",
  "tdx.tcb.evaluation-equal": "TCB info and QE identity are of the same TCB evaluation",
  "tdx.tcb.module": "The TDX module's signer and attributes are those that Intel publishes for its version",
  "tdx.tcb.status": "Platform, TDX module and quoting enclave converge to a status that the policy accepts",
  "tdx.tcb.current-status": "So they do for the TDX module that runs now, after TD-preserving updates",
  "tdx.tcb.date": "The TCB is not older than the policy's floor",
  "tdx.tcb.advisories": "The policy accepts each security advisory that is open for this TCB",
  "tdx.platform.allowed": "The platform (PPID) is one of those allowed, and not one denied",
  "tdx.platform.configuration": "The platform is set up in no way that is not allowed",
} as const satisfies Record<string, string>;

export type TdxCode = keyof typeof TDX_PREDICATES;

/** Without an answer to each of these nothing is accepted. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a constant
export const TDX_DEMANDED = Object.keys(TDX_PREDICATES) as readonly TdxCode[];
