/** `sealet explain`: says what is in a report, a quote, a certificate or a revocation list. Judges nothing. */
import type { Command } from "commander";
import type { Claims, ClaimValue } from "../attest/verdict.ts";
import { SealetError } from "../error.ts";
import { parseEvidence } from "./evidence-file.ts";
import { readBytes } from "./files.ts";
import { fields, type Output, printable, type Style } from "./output.ts";

export interface Explained {
  readonly kind: string;
  readonly about: Claims;
}

export function registerExplain(program: Command, output: Output): void {
  program
    .command("explain <file>")
    .description("what a report, quote, certificate or CRL says; judges nothing")
    .action(async (path: string) => {
      const explained = await explain(readBytes(path));
      output.result(explained, (style) => explainedText(explained, style));
    });
}

/** @throws EVIDENCE_MALFORMED */
export async function explain(bytes: Uint8Array): Promise<Explained> {
  const { attempt, describeRefusal } = await import("../attest/malformed.ts");
  const parse =
    bytes[0] === 0x30 || bytes[0] === 0x2d ? await x509Parser(bytes) : await evidenceParser(bytes);
  const result = attempt(parse);
  if (result.ok) return result.value;
  throw new SealetError("EVIDENCE_MALFORMED", describeRefusal(result.refusal));
}

async function evidenceParser(bytes: Uint8Array): Promise<() => Explained> {
  const evidence = parseEvidence(bytes);
  if (evidence.tee === "sev-snp") {
    const [{ REPORT }, { snpClaims }, { parseCertificateTable }, { readVek }, { parseCertificate }] =
      await Promise.all([
        import("../attest/snp/report.ts"),
        import("../attest/snp/claims.ts"),
        import("../attest/snp/certificate-table.ts"),
        import("../attest/snp/vek.ts"),
        import("../attest/x509.ts"),
      ]);
    return () => {
      const report = REPORT.decode(evidence.report);
      const certificates = evidence.auxiliary.length === 0 ? {} : parseCertificateTable(evidence.auxiliary);
      const der = certificates.vcek ?? certificates.vlek;
      const vek = der === undefined ? undefined : readVek(parseCertificate(der));
      return { kind: "SEV-SNP attestation report", about: snpClaims(report, vek) };
    };
  }
  const [{ parseQuote }, { quoteClaims }] = await Promise.all([
    import("../attest/tdx/quote.ts"),
    import("../attest/tdx/claims.ts"),
  ]);
  return () => ({ kind: "TDX quote", about: quoteClaims(parseQuote(evidence.report)) });
}

async function x509Parser(bytes: Uint8Array): Promise<() => Explained> {
  const [
    { parseCertificate, parseCrl, commonName, serialText, describeSignature, crlUris },
    { splitPem },
    chain,
  ] = await Promise.all([
    import("../attest/x509.ts"),
    import("../attest/base64.ts"),
    import("../attest/chain.ts"),
  ]);
  const { attempt } = await import("../attest/malformed.ts");
  const { hex } = await import("../attest/bytes.ts");
  const { OID } = await import("../attest/x509.ts");
  const name = (from: Parameters<typeof commonName>[0]): string =>
    commonName(from) ?? "(no single common name)";
  const one = (der: Uint8Array): Explained => {
    const crl = attempt(() => parseCrl(der));
    if (crl.ok) {
      const { issuer, thisUpdate, nextUpdate, revoked, signatureAlgorithm } = crl.value;
      return {
        kind: "certificate revocation list",
        about: {
          issuer: name(issuer),
          thisUpdate: chain.timeText(thisUpdate),
          nextUpdate: chain.timeText(nextUpdate),
          signature: describeSignature(signatureAlgorithm),
          revoked: [...revoked].map(({ serial, at }) => `${serialText(serial)} at ${chain.timeText(at)}`),
        },
      };
    }
    const certificate = parseCertificate(der);
    const { publicKey, extensions } = certificate;
    return {
      kind: "certificate",
      about: {
        subject: name(certificate.subject),
        issuer: name(certificate.issuer),
        serial: serialText(certificate.serial),
        validity: chain.validityText(certificate),
        key: publicKey.kind === "rsa" ? `RSA ${publicKey.bits}` : publicKey.kind,
        signature: describeSignature(certificate.signatureAlgorithm),
        crl: crlUris(certificate),
        extensions: Object.fromEntries(
          [...extensions.values()]
            .filter(({ oid }) => oid !== OID.crlDistributionPoints)
            .map(({ oid, value }) => [oid, hex(value)]),
        ),
      },
    };
  };
  return () => {
    if (bytes[0] === 0x30) return one(bytes);
    const blocks = splitPem(new TextDecoder("latin1").decode(bytes), "PEM").map(({ der }) => one(der));
    const [first] = blocks;
    if (first !== undefined && blocks.length === 1) return first;
    return { kind: "certificates", about: { certificates: blocks.map(({ about }) => about) } };
  };
}

/** Nested claims as dotted names. */
function flatten(value: ClaimValue, path: string): [string, string][] {
  if (typeof value !== "object") return [[path, printable(String(value))]];
  const entries: [string, ClaimValue][] = Array.isArray(value)
    ? value.map((item: ClaimValue, i): [string, ClaimValue] => [String(i), item])
    : Object.entries(value);
  if (entries.length === 0) return [[path, "none"]];
  return entries.flatMap(([key, item]) => flatten(item, path === "" ? key : `${path}.${key}`));
}

function explainedText({ kind, about }: Explained, style: Style): string {
  return `${style.bold(kind)}\n\n${fields(flatten(about, ""), style)}`;
}
