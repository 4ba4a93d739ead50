/** `sealet collateral`: what evidence is judged with. Fetched from AMD and Intel, or packed into one signed file. */
import { type Command, InvalidArgumentError } from "commander";
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
  readonly product?: readonly Product[];
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
    .command("fetch [evidence]")
    .description(
      "fetch into a directory what this evidence is judged with, or without any the chain and CRL of AMD's for each --product; what is there and fresh stays",
    )
    .requiredOption(
      "--out <directory>",
      "for 'sealet verify --collateral', and for a KMS's collateral folder",
    )
    .option(
      "--product <line>",
      `SNP (${PRODUCTS.join(", ")}): without evidence, repeatable; or for a report that does not say it (before version 3, or without a chip's id)`,
      product,
    )
    .option("--proxy <url>", "an HTTP proxy that speaks CONNECT", origin)
    .option("--amd <url>", "a mirror of AMD's key distribution service", origin)
    .option("--intel <url>", "a mirror of Intel's provisioning certification service", origin)
    .option(
      "--intel-certificates <url>",
      "a mirror of Intel's certificates, which has the root's CRL",
      origin,
    )
    .action(async (path: string | undefined, options: FetchOptions) => {
      const fetched = await fetchFor(
        path === undefined ? undefined : parseEvidence(readBytes(path)),
        options,
      );
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
    .description(
      "pack collateral into one file and sign it, for places without a network; chips' certificates (VCEKs) are not in it",
    )
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

function product(text: string, before: readonly Product[] = []): readonly Product[] {
  const line = PRODUCTS.find((name) => name === text);
  if (line === undefined) throw new InvalidArgumentError(`It is ${PRODUCTS.join(" or ")}.`);
  return [...before, line];
}

/** Of a service or a proxy: a path would be lost, for the service's own take its place. */
function origin(text: string): string {
  if (!/^https?:\/\/[^/\\?#\s]+\/?$/i.test(text) || !URL.canParse(text))
    throw new InvalidArgumentError("It is http://host:port or https://host:port, without a path.");
  return text;
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
  evidence: Evidence | undefined,
  { out: directory, product: products = [], proxy, ...mirrors }: FetchOptions,
): Promise<Fetched> {
  const fetchWith = evidence === undefined ? ofProducts(products) : ofEvidence(evidence, products);
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
  return { directory, platform: await fetchWith(client), problems };
}

/** @returns whose collateral it fetched */
type FetchWith = (client: CollateralClient) => Promise<string>;

const never = new AbortController().signal;

function ofProducts(products: readonly Product[]): FetchWith {
  if (products.length === 0)
    throw new SealetError(
      "USAGE",
      "It takes evidence, or for SNP without evidence --product (as --product Genoa)",
    );
  return async (client) => {
    for (const line of products) await client.snp(line, never);
    return `${products.join(", ")}, without chips' certificates`;
  };
}

function ofEvidence({ tee, report }: Evidence, [line, another]: readonly Product[]): FetchWith {
  if (another !== undefined) throw new SealetError("USAGE", "Evidence is of one --product");
  if (tee === "sev-snp") return (client) => fetchSnp(client, report, line);
  if (tee === "tdx") return (client) => fetchTdx(client, report);
  throw new SealetError("USAGE", `Nothing is fetched for evidence of '${tee}'`);
}

async function fetchSnp(client: CollateralClient, report: Uint8Array, line?: Product): Promise<string> {
  const { vcekQuery } = await import("../attest/snp/vcek-query.ts");
  const query = vcekQuery(report, line);
  if (!query.ok && line !== undefined) {
    await client.snp(line, never);
    return `${line}, without a chip's certificate: ${query.refusal.why}`;
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

/** @returns the id of the key that signed it @throws COLLATERAL_INVALID where there is nothing to sign */
async function bundle(paths: readonly string[], { revision, key, out }: BundleOptions): Promise<string> {
  const [{ readCollateral }, { COLLATERAL_PAYLOAD_TYPE, encodeBundle }, { openOperatorKey }] =
    await Promise.all([
      import("./collateral-files.ts"),
      import("../attest/collateral-bundle.ts"),
      import("./sign.ts"),
    ]);
  const signer = openOperatorKey(key);
  const collateral = await readCollateral(paths);
  if (collateral.tdx === undefined && Object.values(collateral.snp).every((part) => part === undefined))
    throw new SealetError(
      "COLLATERAL_INVALID",
      `${paths.join(", ")}: there is neither a chain of AMD's nor anything of Intel's to pack`,
    );
  const payload = encodeBundle({ version: revision, created: new Date().toISOString(), collateral });
  writeFile(out, signer.sign(COLLATERAL_PAYLOAD_TYPE, payload));
  return signer.keyid;
}
