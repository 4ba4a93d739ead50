/** `sealet verify`: judges evidence offline, by a policy, at a time, and says of each predicate what it found. */
import { type Command, Option } from "commander";
import type { Expectation } from "../attest/appraise.ts";
import type { Verdict } from "../attest/verdict.ts";
import { SealetError } from "../error.ts";
import type { Crypto } from "../attest/crypto.ts";
import type { InitdataDigests } from "../config/initdata.ts";
import { parseEvidence, readDer } from "./evidence-file.ts";
import { readBytes } from "./files.ts";
import { hexBytes } from "./hex-option.ts";
import { fields, type Output, printable, type Style, table } from "./output.ts";

interface VerifyOptions {
  readonly policy: string;
  readonly at?: string;
  readonly collateral?: readonly string[];
  readonly operator?: string;
  readonly certificates?: string;
  readonly vek?: string;
  readonly eventLog?: string;
  readonly nonce?: Buffer;
  readonly reportData?: string;
  readonly initdata?: string;
  readonly ear?: boolean;
}

export function registerVerify(program: Command, output: Output): void {
  program
    .command("verify <evidence>")
    .description("judge a report, a quote or 'sealet evidence -o json' by a policy; nothing is fetched")
    .requiredOption("--policy <file>", "the policy, plain or signed (its signature is the KMS's to check)")
    .option("--at <time>", "the time to judge at (ISO 8601); now without it")
    .option("--collateral <path...>", "directories of 'collateral fetch', signed bundles, Intel's JSON")
    .option("--operator <file>", "the public key that has to have signed a bundle")
    .option("--certificates <file>", "SNP: the certificate table of the extended report")
    .option("--vek <file>", "SNP: the VCEK or VLEK, where the evidence has none")
    .option("--event-log <file>", "TDX: the TCG2 event log")
    .option(
      "--nonce <hex>",
      "what 'sealet evidence' was asked with: else the evidence may be an old one",
      hexBytes,
    )
    .addOption(
      new Option("--report-data <hex>", "the 64 bytes that evidence of another origin has to bind").conflicts(
        "nonce",
      ),
    )
    .option("--initdata <file>", "what 'sealet nodes add' wrote: the launch has to bind its digest")
    .option("--ear", "print the attestation result's claims (EAR) in the place of the verdict")
    .action(async (evidence: string, options: VerifyOptions) => {
      const { verdict, ear } = await verifyFile(evidence, options);
      if (options.ear === true) output.result(ear, () => JSON.stringify(ear, undefined, 2));
      else output.result(plain(verdict), (style) => verdictText(verdict, style));
      if (verdict.accepted && options.nonce === undefined && options.reportData === undefined)
        output.note("It may be old evidence, or another's: neither --nonce nor --report-data was given.");
      if (!verdict.accepted) throw refusal(verdict);
    });
}

/** The verdict's text is written when it is read: here all of it is. */
function plain({ accepted, tee, predicates, notEvaluated, claims }: Verdict): Verdict {
  return { accepted, tee, predicates, notEvaluated, claims };
}

interface Verified {
  readonly verdict: Verdict;
  readonly ear: unknown;
}

/** @throws POLICY_INVALID, EVIDENCE_MALFORMED, CONFIG_INVALID */
async function verifyFile(evidencePath: string, options: VerifyOptions): Promise<Verified> {
  const [{ appraise }, { toEar }, { nodeCrypto }, { VERSION }, { readCollateral, withVek }] =
    await Promise.all([
      import("../attest/appraise.ts"),
      import("../attest/ear.ts"),
      import("../crypto/node.ts"),
      import("../version.ts"),
      import("./collateral-files.ts"),
    ]);
  const crypto = nodeCrypto();
  const at = options.at === undefined ? Date.now() : Date.parse(options.at);
  if (Number.isNaN(at)) throw new SealetError("USAGE", `'${options.at}' is no time`);
  const evidence = parseEvidence(readBytes(evidencePath), {
    auxiliary: options.certificates === undefined ? undefined : readBytes(options.certificates),
    eventLog: options.eventLog === undefined ? undefined : readBytes(options.eventLog),
  });
  const paths = options.collateral ?? [];
  const vek = options.vek === undefined ? undefined : await readDer(options.vek);
  const operator = options.operator === undefined ? undefined : await readDer(options.operator);
  const policy = await readPolicyFile(options.policy);
  const verdict = await appraise({
    evidence,
    collateral: await withVek(await readCollateral(paths, operator), evidence, paths, vek),
    policy,
    at,
    expect: await expectation(options, crypto),
    crypto,
  });
  const ear = toEar(verdict, {
    issuedAt: Math.floor(at / 1000),
    verifier: { developer: "sealet", build: VERSION },
    policyId: `sealet.policy/v1:${policy.version}`,
  });
  return { verdict, ear };
}

async function expectation(
  { nonce, reportData, initdata }: VerifyOptions,
  crypto: Crypto,
): Promise<Expectation> {
  const { fromHex } = await import("../attest/bytes.ts");
  if (reportData !== undefined && !/^[0-9a-fA-F]{128}$/.test(reportData))
    throw new SealetError("USAGE", "--report-data takes 64 bytes in hex");
  const { evidenceReportData } = await import("../attest/report-data.ts");
  let bound: Expectation["reportData"] = { unchecked: "neither --nonce nor --report-data was given" };
  if (nonce !== undefined) bound = await evidenceReportData(crypto, nonce);
  else if (reportData !== undefined) bound = fromHex(reportData);
  return {
    reportData: bound,
    initdata: initdata === undefined ? undefined : await initdataDigestsOf(initdata),
  };
}

/** Of the document, alone or in the disk image that a node gets. */
async function initdataDigestsOf(path: string): Promise<InitdataDigests> {
  const [{ isFramed, unframeInitdata }, { initdataDigests }] = await Promise.all([
    import("../config/initdata-disk.ts"),
    import("../config/initdata.ts"),
  ]);
  const bytes = readBytes(path);
  return initdataDigests(isFramed(bytes) ? unframeInitdata(bytes) : bytes);
}

async function readPolicyFile(path: string) {
  const [{ parsePolicy }, { parseEnvelope }] = await Promise.all([
    import("../attest/policy.ts"),
    import("../attest/dsse.ts"),
  ]);
  const bytes = readBytes(path);
  const envelope = parseEnvelope(bytes);
  const parsed = parsePolicy(envelope.ok ? envelope.value.payload : bytes);
  if (parsed.ok) return parsed.policy;
  const problems = parsed.problems.map((problem) => `${problem.path || "."}: ${problem.message}`);
  throw new SealetError("POLICY_INVALID", `${path} is no policy: ${problems.join("; ")}`);
}

const SHOWN = 72;

function short(text: string): string {
  const line = printable(text);
  return line.length <= SHOWN ? line : `${line.slice(0, SHOWN)}…`;
}

/** For people: what failed first and in full, then a line a predicate. */
function verdictText(verdict: Verdict, style: Style): string {
  const { accepted, tee, predicates, notEvaluated } = verdict;
  const failed = predicates.filter(({ ok }) => !ok);
  const unchecked = predicates.filter((predicate) => predicate.unchecked !== undefined);
  const held = predicates.filter(({ ok, unchecked: reason }) => ok && reason === undefined);
  const blocks = [
    `${accepted ? style.green(style.bold("ACCEPTED")) : style.red(style.bold("REFUSED"))}  ${printable(tee)}`,
  ];
  for (const { code, expected, found } of failed)
    blocks.push(
      [
        style.red(`✗ ${code}`),
        `    expected  ${printable(expected)}`,
        `    found     ${printable(found)}`,
      ].join("\n"),
    );
  if (notEvaluated.length > 0) blocks.push(style.yellow(`Not reached: ${notEvaluated.join(", ")}`));
  const rows = [
    ...held.map(({ code, found }) => [style.green("✓"), code, short(found)]),
    ...unchecked.map(({ code, unchecked: reason = "" }) => [
      style.yellow("–"),
      code,
      short(`not checked: ${reason}`),
    ]),
  ];
  if (rows.length > 0) blocks.push(table(["", "predicate", "found"], rows, style));
  blocks.push(
    fields(
      [
        ["held", String(held.length)],
        ["failed", String(failed.length)],
        ["not checked", String(unchecked.length)],
        ["not reached", String(notEvaluated.length)],
      ],
      style,
    ),
  );
  return blocks.join("\n\n");
}

/** The first predicate that failed, as the error of the command. */
function refusal(verdict: Verdict): SealetError {
  const failed = verdict.predicates.filter(({ ok }) => !ok);
  const [first] = failed;
  if (first === undefined)
    return new SealetError(
      "EVIDENCE_REFUSED",
      `Not every predicate was reached: ${verdict.notEvaluated.join(", ")}`,
    );
  const more = failed.length > 1 ? `, and ${failed.length - 1} more` : "";
  return new SealetError("EVIDENCE_REFUSED", `The evidence does not meet the policy: ${first.code}${more}`, {
    expected: first.expected,
    found: first.found,
  });
}
