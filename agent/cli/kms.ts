/** `sealet kms`: sets a key service up, and runs it. */
import type { Command } from "commander";
import { SealetError } from "../error.ts";
import type { Setup } from "../kms/directory.ts";
import { directoryOption } from "./kms-options.ts";
import { readFile } from "./files.ts";
import { type Output, fields } from "./output.ts";

interface InitOptions {
  readonly dir: string;
  readonly cluster: string;
  readonly endpoint: string[];
  readonly operatorKey: string[];
  readonly listen?: string;
  readonly apiServer?: string;
  readonly clusterCaCert?: string;
  readonly clusterCaKey?: string;
  readonly leaseSeconds?: string;
}

export function registerKms(program: Command, output: Output): void {
  const kms = program.command("kms").description("the key service");
  kms
    .command("init")
    .description("make a KMS's directory: root key, TLS key, configuration")
    .requiredOption("--cluster <name>", "the cluster's name")
    .requiredOption("--endpoint <host:port...>", "where nodes find this KMS")
    .requiredOption("--operator-key <file...>", "public keys of who may sign enrolments and policies (PEM)")
    .option("--listen <host:port>", "where the KMS listens; default: [::]:7443")
    .option("--api-server <url>", "the Kubernetes API server, for the nodes; of several their load balancer")
    .option("--cluster-ca-cert <file>", "the cluster's CA (PEM); without one the KMS makes its own")
    .option("--cluster-ca-key <file>", "its key (PEM)")
    .option("--lease-seconds <number>", "how long a node may go without renewing; default: 300")
    .addOption(directoryOption())
    .action(async (options: InitOptions) => {
      const { createDirectory, openDirectory } = await import("../kms/directory.ts");
      const { spkiDigest, spkiOf } = await import("../kms/identity.ts");
      await createDirectory(options.dir, setupOf(options));
      const { rootKey, tls } = openDirectory(options.dir);
      using made = rootKey;
      void made;
      const pin = spkiDigest(spkiOf(tls.certificate)).toString("hex");
      const result = { cluster: options.cluster, directory: options.dir, spkiSha256: pin };
      output.result(result, (style) =>
        fields(
          [
            ["cluster", options.cluster],
            ["directory", options.dir],
            ["key (SPKI SHA-256)", pin],
          ],
          style,
        ),
      );
      output.note(
        "Back this whole directory up, with the KMS stopped: without root.key, kms.db or tls.key no state disk opens again.",
      );
    });
  kms
    .command("serve")
    .description("run the key service until SIGTERM")
    .option("--listen <host:port>", "in place of the configuration's")
    .addOption(directoryOption())
    .action(async ({ dir, listen }: { dir: string; listen?: string }) => {
      const { serve } = await import("./kms-serve.ts");
      await serve(dir, listen, output);
    });
}

function setupOf(options: InitOptions): Setup {
  const { cluster, endpoint, listen, apiServer, leaseSeconds, clusterCaCert, clusterCaKey } = options;
  if ((clusterCaCert === undefined) !== (clusterCaKey === undefined))
    throw new SealetError("USAGE", "--cluster-ca-cert and --cluster-ca-key go together");
  const ca =
    clusterCaCert === undefined || clusterCaKey === undefined
      ? undefined
      : { certificate: readFile(clusterCaCert), privateKey: readFile(clusterCaKey) };
  return {
    cluster,
    endpoints: endpoint,
    operatorKeys: options.operatorKey.map(readFile),
    ...(listen === undefined ? {} : { listen }),
    ...(apiServer === undefined ? {} : { apiServers: [apiServer] }),
    ...(leaseSeconds === undefined ? {} : { leaseSeconds: Number(leaseSeconds) }),
    ...(ca === undefined ? {} : { ca }),
  };
}
