/** `sealet collateral`: what evidence is judged with. Fetched from AMD and Intel, or packed into one signed file. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Evidence } from "../attest/appraise.ts";
import type { Result } from "../attest/malformed.ts";
import { PRODUCTS, type Product } from "../attest/snp/product.ts";
import type { CollateralClient } from "../collateral/client.ts";
import { SealetError } from "../error.ts";
import { parseEvidence } from "./evidence-file.ts";
import { keyOption } from "./kms-options.ts";
import { fields, type Output } from "./output.ts";
import { readBytes, writeFile } from "./files.ts";

interface FetchOptions {
  readonly out: string;
  readonly product?: Product;
  readonly proxy?: string;
  readonly amd?: string;
  readonly intel?: string;
  readonly intelCertificates?: string;
}

interface BundleOptions {
  readonly revision: number;
  readonly key: string;
  readonly out: string;
}

export function registerCollateral(program: Command, output: Output): void {
  const collateral = program
    .command("collateral")
    .description("what AMD and Intel say of their platforms: certificates, revocations, TCB levels");
  collateral
    .command("fetch <evidence>")
    .description("fetch into a directory what this evidence is judged with; what is there and fresh stays")
    .requiredOption(
      "--out <directory>",
      "for 'sealet verify --collateral', and for a KMS's collateral folder",
    )
    .addOption(
      new Option(
        "--product <line>",
        "SNP: for a report that does not say it (before version 3, or without a chip's id)",
      ).choices(PRODUCTS),
    )
    .option("--proxy <url>", "an HTTP proxy that speaks CONNECT")
    .option("--amd <url>", "a mirror of AMD's key distribution service")
    .option("--intel <url>", "a mirror of Intel's provisioning certification service")
    .option("--intel-certificates <url>", "a mirror of Intel's certificates, which has the root's CRL")
    .action(async (path: string, options: FetchOptions) => {
      const fetched = await fetchFor(parseEvidence(readBytes(path)), options);
      output.result(fetched, (style) =>
        fields(
          [
            ["platform", fetched.platform],
            ["directory", fetched.directory],
            ...fetched.problems.map((problem): [string, string] => ["note", problem]),
          ],
          style,
        ),
      );
    });
  collateral
    .command("bundle <path...>")
    .description("pack collateral into one file and sign it, for places without a network")
    .requiredOption("--revision <number>", "only ever higher", positive)
    .addOption(keyOption())
    .requiredOption("--out <file>", "where the bundle goes")
    .action(async (paths: string[], options: BundleOptions) => {
      const keyid = await bundle(paths, options);
      output.result({ ...options, keyid }, (style) =>
        fields(
          [
            ["revision", String(options.revision)],
            ["signed by", keyid],
            ["bundle", options.out],
          ],
          style,
        ),
      );
    });
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError("It is a whole number from 1 up.");
  return value;
}

interface Fetched {
  readonly directory: string;
  /** Whose collateral it is: the chip and its TCB, or the FMSPC. */
  readonly platform: string;
  /** What is not to be had, and what stays as it was although it should be newer. */
  readonly problems: readonly string[];
}

/** @throws COLLATERAL_UNAVAILABLE, COLLATERAL_INVALID, EVIDENCE_MALFORMED, USAGE */
async function fetchFor(
  { tee, report }: Evidence,
  { out: directory, product, proxy, ...mirrors }: FetchOptions,
): Promise<Fetched> {
  const [{ CollateralClient }, { httpClient }, { patient }] = await Promise.all([
    import("../collateral/client.ts"),
    import("../collateral/http.ts"),
    import("../collateral/patient.ts"),
  ]);
  const problems: string[] = [];
  const client = new CollateralClient({
    ...mirrors,
    directory,
    get: patient(httpClient({ proxy })),
    now: Date.now,
    onProblem: ({ message }) => problems.push(message),
  });
  const fetchOf = tee === "sev-snp" ? fetchSnp : tee === "tdx" ? fetchTdx : undefined;
  if (fetchOf === undefined) throw new SealetError("USAGE", `Nothing is fetched for evidence of '${tee}'`);
  return { directory, platform: await fetchOf(client, report, product), problems };
}

const never = new AbortController().signal;

async function fetchSnp(client: CollateralClient, report: Uint8Array, product?: Product): Promise<string> {
  const { vcekQuery } = await import("../attest/snp/vcek-query.ts");
  const query = vcekQuery(report, product);
  if (!query.ok && product !== undefined) {
    await client.snp(product, never);
    return `${product}, without a chip's certificate: ${query.refusal.why}`;
  }
  const chip = usable(query);
  await client.snp(chip.product, never);
  await client.vcek(chip, never);
  return `${chip.product} ${chip.hwid} ${chip.tcb}`;
}

async function fetchTdx(client: CollateralClient, quote: Uint8Array): Promise<string> {
  const { pckQuery } = await import("../attest/tdx/pck-query.ts");
  const platform = usable(pckQuery(quote));
  await client.tdx(platform, never);
  return `FMSPC ${platform.fmspc}, ${platform.ca} CA`;
}

function usable<T>(query: Result<T>): T {
  if (query.ok) return query.value;
  throw new SealetError("EVIDENCE_MALFORMED", `It does not say what to fetch: ${query.refusal.why}`);
}

/** @returns the id of the key that signed it */
async function bundle(paths: readonly string[], { revision, key, out }: BundleOptions): Promise<string> {
  const [{ readCollateral }, { COLLATERAL_PAYLOAD_TYPE, encodeBundle }, { openOperatorKey }] =
    await Promise.all([
      import("./collateral-files.ts"),
      import("../attest/collateral-bundle.ts"),
      import("./sign.ts"),
    ]);
  const signer = openOperatorKey(key);
  const collateral = await readCollateral(paths);
  const payload = encodeBundle({ version: revision, created: new Date().toISOString(), collateral });
  writeFile(out, signer.sign(COLLATERAL_PAYLOAD_TYPE, payload));
  return signer.keyid;
}
