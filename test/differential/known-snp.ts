/**
 * Every disagreement about SEV-SNP that was looked into, with the reason why ours is right. `run.ts` fails where
 * there is one that is not here. The README's table is written from this one.
 */
import { REPORT } from "../../agent/attest/snp/report.ts";
import type { Disagreement, Trial } from "./compare.ts";

const ABI = "SEV-SNP ABI 1.58, table 23";
const VEK = "AMD 57230, §3";

/** The report's fields; undefined where it has not its size. */
const fieldsOf = ({ report }: Trial): ReturnType<typeof REPORT.decode> | undefined =>
  report?.length === REPORT.size ? REPORT.decode(report) : undefined;

export const KNOWN_SNP: readonly Disagreement[] = [
  {
    peers: ["go-sev-guest"],
    what: "a VCEK or VLEK of Turin's, which has the extension FMC",
    they: /not an AMD KDS OID: 1\.3\.6\.1\.4\.1\.3704\.1\.3\.9/u,
    we: "accepts",
    about: (trial) => fieldsOf(trial)?.cpuidFamily === 0x1a,
    why: `${VEK}: 1.3.6.1.4.1.3704.1.3.9 is fmcSPL; AMD's own Turin VCEKs have it (vectors: virtee-sev/certs_data/vcek_turin.der)`,
  },
  {
    peers: ["go-sev-guest"],
    what: "a stepping over 15",
    they: /ECDSA verification failure/u,
    we: "accepts",
    about: (trial) => (fieldsOf(trial)?.cpuidStepping ?? 0) > 15,
    why: `${ABI}: CPUID_STEP is a byte. The peer verifies a re-encoding of the report, which loses its upper half; the bytes that we verify are those that were signed`,
  },
  {
    peers: ["go-sev-guest"],
    what: "CPU models of the Genoa line other than 0x11: 0x10 to 0x1F, 0xA0 to 0xAF (Bergamo, Siena)",
    they: /could not be verified by any trusted roots/u,
    we: "accepts",
    about: (trial) => {
      const { cpuidFamily, cpuidModel = 0 } = fieldsOf(trial) ?? {};
      return cpuidFamily === 0x19 && cpuidModel >= 0x10 && cpuidModel !== 0x11;
    },
    why: "AMD's PPRs of family 19h, and sev's table: one line, with one root; the peer knows models 0x01 and 0x11 alone",
  },
  {
    peers: ["go-sev-guest"],
    what: "bytes after the report, or in the place of its end",
    they: "accepts",
    we: ["snp.length"],
    why: `${ABI}: a report has 1184 bytes; what nobody signed is not evidence`,
  },
  {
    peers: ["go-sev-guest", "sev"],
    what: "PLATFORM_INFO bits that are reserved",
    they: "accepts",
    we: ["snp.platform-bits"],
    why: `${ABI}, PLATFORM_INFO: a bit of unknown meaning may be one that matters`,
  },
  {
    peers: ["go-sev-guest", "sev"],
    what: "reserved bytes of a TCB version",
    they: "accepts",
    we: ["snp.tcb-reserved"],
    why: "SEV-SNP ABI 1.58, TCB_VERSION: bytes 2 to 5 are reserved before Turin. sev drops them and verifies a re-encoding, so that it takes a report that was changed after it was signed, too",
  },
  {
    peers: ["go-sev-guest", "sev"],
    what: "bytes that are reserved in the report's version, or after the signature's s",
    they: "accepts",
    we: ["snp.reserved"],
    why: `${ABI}, and the format of the signature: must be zero. go-sev-guest leaves out mitigation vectors and CPUID in versions that have none, sev what follows s, which nobody signed`,
  },
  {
    peers: ["sev"],
    what: "a version over 5",
    they: "accepts",
    we: ["snp.version"],
    why: `${ABI}: what such a report's fields mean is not known yet; the peer reads it as version 5`,
  },
  {
    peers: ["sev"],
    what: "guest policy: bit 17 zero, or reserved bits",
    they: "accepts",
    we: ["snp.policy-bits"],
    why: "SEV-SNP ABI 1.58, table 9: bit 17 must be one, those above 25 zero",
  },
  {
    peers: ["sev"],
    what: "another signature algorithm than ECDSA P-384 with SHA-384",
    they: "accepts",
    we: ["snp.signature-algorithm"],
    why: `${ABI}, SIGNATURE_ALGO: the peer does not read the field`,
  },
  {
    peers: ["sev"],
    what: "SIGNING_KEY none or reserved, or VLEK where a VCEK signed",
    they: "accepts",
    we: ["snp.key-info", "snp.certificate"],
    about: ({ from }) => from.startsWith("mutant (field") || from.startsWith("mutant (report"),
    why: `${ABI}, SIGNING_KEY: the report says who signed it; the peer takes the certificate that it is given`,
  },
  {
    peers: ["sev"],
    what: "bytes after a certificate's DER",
    they: "accepts",
    we: ["snp.certificate", "snp.intermediate"],
    about: ({ from }) => /^mutant \((?:VCEK|ASK)\)/u.test(from),
    why: "X.690 §10: one encoding; OpenSSL's d2i_X509 leaves the rest to its caller, who does not look",
  },
  {
    peers: ["go-sev-guest", "sev"],
    what: "debugging allowed by the guest's policy",
    they: "accepts",
    we: ["snp.guest-policy"],
    why: "SEV-SNP ABI 1.58, table 9, DEBUG: the hypervisor may read the guest. go-sev-guest has it in a step of its own (validate), which a caller may leave out",
  },
  {
    peers: ["go-sev-guest", "sev"],
    what: "a chip id that is not the VCEK's",
    they: "accepts",
    we: ["snp.chip-id"],
    why: `${VEK}, hwID: the certificate is for one chip. go-sev-guest has it in validate`,
  },
  {
    peers: ["go-sev-guest", "sev"],
    what: "reported TCB above committed, committed above current, or not the certificate's",
    they: "accepts",
    we: ["snp.tcb-order", "snp.certificate-tcb"],
    why: `${VEK}, and SEV-SNP ABI 1.58, REPORTED_TCB: the VCEK is derived from the reported TCB. go-sev-guest has it in validate`,
  },
  {
    peers: ["go-sev-guest"],
    what: "processors for which AMD has published no root, version 3 and later",
    they: "accepts",
    we: ["snp.product"],
    why: "the certificate's product line has to be the report's",
  },
  {
    peers: ["sev"],
    what: "a VCEK that has expired",
    they: "accepts",
    we: ["snp.validity"],
    why: "RFC 5280 §6.1.3 (a)(2): the peer has no clock",
  },
];
