/**
 * X.509 certificates and CRLs (RFC 5280) as evidence and collateral use them, on the strict DER reader: what the folder
 * `x509/` offers to others. Parsing decides nothing about trust: signatures, dates and constraints are `chain.ts`'s.
 */
export { describeSignature, type CertificateSignature } from "./x509/algorithm.ts";
export { parseCertificate, parsePemCertificates, serialText, type Certificate } from "./x509/certificate.ts";
export { parseCrl, type CertificateList } from "./x509/crl.ts";
export { basicConstraints, crlUris, KEY_USAGE, keyUsage, OID, type Extension } from "./x509/extensions.ts";
export { commonName } from "./x509/name.ts";
export { p256Spki, parsePublicKey, type PublicKey } from "./x509/public-key.ts";
export type { Signed } from "./x509/signed.ts";
