/** `sealet policy`: what decides a release. Signed by an operator, applied at the KMS, only ever newer. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { PolicyInfo } from "../api/gen/sealet.ts";
import { PRODUCTS, type Product } from "../attest/snp/product.ts";
import { SealetError } from "../error.ts";
import { type SocketOption, keyOption, socketOption } from "./kms-options.ts";
import { type Output, fields } from "./output.ts";
import { readFile, writeFile } from "./files.ts";
import type { Example } from "./policy-example.ts";

const TEES: Example["tees"] = ["sev-snp", "tdx"];

interface ExampleOptions {
  readonly cluster: string;
  readonly tee: Example["tees"];
  readonly product?: readonly Product[];
  readonly measurement?: readonly string[];
}

const SNP_LAUNCH =
  "On SEV-SNP the measurement covers the image only where it was launched with kernel hashes; booted from its disk, a " +
  "machine's measurement is the firmware's alone, whatever system it then starts.";

export function registerPolicy(program: Command, output: Output): void {
  const policy = program
    .command("policy")
    .description("the reference values and minima that decide a release");
  policy
    .command("example")
    .description("a whole and strict policy to edit, sign and apply, on standard output")
    .requiredOption("--cluster <name>", "the cluster that it is for: no other's KMS takes it")
    .addOption(new Option("--tee <tee...>", "what nodes run on").choices(TEES).makeOptionMandatory())
    .addOption(
      new Option("--product <line...>", "SNP: the processors to allow; default: Genoa").choices(PRODUCTS),
    )
    .option("--measurement <hex...>", "SNP: the launch measurement; TDX: MRTD", measurement)
    .action(async (options: ExampleOptions) => {
      const { examplePolicy, undecided } = await import("./policy-example.ts");
      const example = examplePolicy(exampleOf(options));
      output.result(example, () => JSON.stringify(example, undefined, 2));
      const open = undecided(example);
      if (open.length > 0) output.note(toBePutIn(open));
      if (example.tees["sev-snp"] !== "denied") output.note(SNP_LAUNCH);
    });
  policy
    .command("check <file>")
    .description("whether a policy is valid: every problem with its path")
    .action(async (file: string) => {
      const { version } = await readPolicy(readFile(file));
      output.result({ file, version, valid: true }, () => `${file} is valid: version ${version}`);
    });
  policy
    .command("sign <file>")
    .description("sign a policy")
    .addOption(keyOption())
    .requiredOption("--out <file>", "where the signed policy goes")
    .action(async (file: string, { key, out }: { key: string; out: string }) => {
      const { openOperatorKey } = await import("./sign.ts");
      const { POLICY_PAYLOAD_TYPE } = await import("../attest/policy.ts");
      const payload = readFile(file);
      const { version } = await readPolicy(payload);
      const signer = openOperatorKey(key);
      writeFile(out, signer.sign(POLICY_PAYLOAD_TYPE, payload));
      output.result({ version, out, keyid: signer.keyid }, (style) =>
        fields(
          [
            ["version", String(version)],
            ["signed by", signer.keyid],
            ["signed policy", out],
          ],
          style,
        ),
      );
    });
  policy
    .command("apply <file>")
    .description("put a signed policy in force")
    .addOption(socketOption())
    .action(async (file: string, { socket }: SocketOption) => {
      const { METHOD, withOperator } = await import("./operator-client.ts");
      const applied = await withOperator(socket, (ask) =>
        ask(METHOD.applyPolicy, { policy: readFile(file) }),
      );
      output.result(plain(applied), () => `Policy version ${applied.version} is in force`);
    });
  policy
    .command("show")
    .description("the policy in force")
    .addOption(socketOption())
    .action(async ({ socket }: SocketOption) => {
      const { METHOD, withOperator } = await import("./operator-client.ts");
      const { parseEnvelope } = await import("../attest/dsse.ts");
      const info = await withOperator(socket, (ask) => ask(METHOD.getPolicy, {}));
      if (info.version === 0n) {
        output.result({ version: 0 }, () => "No policy is in force: nothing is released");
        return;
      }
      const envelope = parseEnvelope(info.policy, "policy");
      if (!envelope.ok) throw new SealetError("POLICY_INVALID", envelope.refusal.why);
      const content: unknown = JSON.parse(Buffer.from(envelope.value.payload).toString());
      const signedBy = envelope.value.signatures.map(({ keyid }) => keyid);
      output.result({ ...plain(info), signedBy, policy: content }, (style) =>
        [
          fields(
            [
              ["version", String(info.version)],
              ["sha256", info.sha256.toString("hex")],
              ["signed by", signedBy.join(", ")],
            ],
            style,
          ),
          JSON.stringify(content, null, 2),
        ].join("\n"),
      );
    });
}

function measurement(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[0-9a-fA-F]{96}$/.test(text)) throw new InvalidArgumentError("It is 48 bytes in hex.");
  return [...before, text.toLowerCase()];
}

function exampleOf({
  cluster,
  tee: tees,
  product: products,
  measurement: measurements,
}: ExampleOptions): Example {
  if (products !== undefined && !tees.includes("sev-snp"))
    throw new SealetError("USAGE", "--product is SNP's: it needs --tee sev-snp");
  if (measurements !== undefined && TEES.every((tee) => tees.includes(tee)))
    throw new SealetError("USAGE", "--measurement is one TEE's: leave it out, or name one --tee");
  return { cluster, tees, products: products ?? ["Genoa"], measurements };
}

const toBePutIn = (paths: readonly string[]): string =>
  [
    "ff…ff matches nothing: it is to be replaced by your own values, at",
    ...paths.map((path) => `  ${path}`),
    "What a node says of itself is in the claims of its refused unsealing ('sealet audit list -o json') and in 'sealet",
    "explain EVIDENCE'. Put in only measurements that a build of your own gives, too: a host can launch anything.",
  ].join("\n");

function plain({ version, sha256 }: PolicyInfo): Record<string, unknown> {
  return { version, sha256 };
}

async function readPolicy(payload: Buffer): Promise<{ version: number }> {
  const { parsePolicy } = await import("../attest/policy.ts");
  const parsed = parsePolicy(payload);
  if (parsed.ok) return parsed.policy;
  const problems = parsed.problems.map(({ path, message }) => `${path || "."}: ${message}`);
  throw new SealetError("POLICY_INVALID", problems.join("; "), { predicate: parsed.problems[0]?.path });
}
