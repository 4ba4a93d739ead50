/** `sealet nodes`: adds nodes to the cluster, and what an operator may do with their records. Runs where the KMS runs. */
import { randomBytes } from "node:crypto";
import { existsSync, renameSync, rmSync } from "node:fs";
import { type Command, Option } from "commander";
import type { NodeRecord } from "../api/gen/sealet.ts";
import { SealetError } from "../error.ts";
import { type SocketOption, keyOption, socketOption } from "./kms-options.ts";
import { type Output, type Style, fields, table } from "./output.ts";
import { writeFile } from "./files.ts";

interface AddOptions extends SocketOption {
  readonly role?: string;
  readonly out: string;
  readonly key: string;
  readonly endpoint?: string[];
}

export function registerNodes(program: Command, output: Output): void {
  const nodes = program.command("nodes").description("the cluster's nodes, as the KMS knows them");
  const enrolments: readonly (readonly [string, string, string, EnrolMethod])[] = [
    ["add", "enrol a node; writes the disk image with its initdata", "worker", "addNode"],
    [
      "reissue",
      "make a node's initdata anew, its disk kept: for a lost image, or a KMS with new endpoints or keys",
      "as it was",
      "reissueNode",
    ],
  ];
  for (const [verb, description, role, method] of enrolments)
    nodes
      .command(`${verb} <name>`)
      .description(description)
      .addOption(new Option("--role <role>", `default: ${role}`).choices(["worker", "control-plane"]))
      .requiredOption("--out <file>", "where the initdata's disk image goes; never replaces one")
      .addOption(keyOption())
      .option("--endpoint <host:port...>", "where this node finds the KMS; default: as the KMS is configured")
      .addOption(socketOption())
      .action(async (name: string, options: AddOptions) => {
        const { record, digests } = await enrolNode(name, options, method);
        const result = { ...plain(record), initdata: options.out, ...digests };
        output.result(result, (style) =>
          fields(
            [
              ["node", record.name],
              ["role", record.role],
              ["initdata", options.out],
              ["host data (SNP)", digests.initdataSha256],
              ["mr config id (TDX)", digests.initdataSha384],
            ],
            style,
          ),
        );
      });
  nodes
    .command("list")
    .description("every node with its disk and lease")
    .addOption(socketOption())
    .action(async ({ socket }: SocketOption) => {
      const { METHOD, withOperator } = await import("./operator-client.ts");
      const { nodes: records } = await withOperator(socket, (ask) => ask(METHOD.listNodes, {}));
      output.result(records.map(plain), (style) => listing(records, style));
    });
  const changes: readonly (readonly [string, string, ChangeMethod])[] = [
    [
      "remove",
      "forget a node for ever: nothing opens its disk again, a new node of its name neither",
      "removeNode",
    ],
    ["release", "end a node's lease now, so that another machine may take its place", "releaseNode"],
    ["reset-disk", "give the old disk's data up: the next unsealing may format a blank disk", "resetDisk"],
  ];
  for (const [verb, description, method] of changes)
    nodes
      .command(`${verb} <name>`)
      .description(description)
      .addOption(socketOption())
      .action(async (name: string, { socket }: SocketOption) => {
        const { METHOD, withOperator } = await import("./operator-client.ts");
        const record = await withOperator(socket, (ask) => ask(METHOD[method], { name }));
        output.result(plain(record), (style) => listing([record], style));
      });
}

type EnrolMethod = "addNode" | "reissueNode";
type ChangeMethod = "removeNode" | "releaseNode" | "resetDisk";

interface Added {
  readonly record: NodeRecord;
  readonly digests: { readonly initdataSha256: string; readonly initdataSha384: string };
}

/** The image is there only once the KMS knows the node. */
async function enrolNode(name: string, options: AddOptions, method: EnrolMethod): Promise<Added> {
  if (existsSync(options.out))
    throw new SealetError("USAGE", `${options.out} is there already: it may be a node's only copy`);
  const { METHOD, withOperator } = await import("./operator-client.ts");
  const { openOperatorKey } = await import("./sign.ts");
  const { ENROLMENT_TYPE, parseEnrolment } = await import("../config/enrolment.ts");
  const { buildInitdata, initdataDigests } = await import("../config/initdata.ts");
  const { frameInitdata } = await import("../config/initdata-disk.ts");
  const key = openOperatorKey(options.key);
  return withOperator(options.socket, async (ask) => {
    const { name: cluster, endpoints, kmsSpkiSha256: spkiSha256 } = await ask(METHOD.getCluster, {});
    const serial = randomBytes(16).toString("hex");
    const created = new Date().toISOString();
    const { nodes } = method === "reissueNode" ? await ask(METHOD.listNodes, {}) : { nodes: [] };
    const role = options.role ?? nodes.find((node) => node.name === name)?.role ?? "worker";
    const payload = Buffer.from(JSON.stringify({ cluster, node: name, role, serial, created }));
    parseEnrolment(payload);
    const enrolment = key.sign(ENROLMENT_TYPE, payload);
    const kms = { endpoints: options.endpoint ?? endpoints, spkiSha256 };
    const initdata = buildInitdata({ cluster, node: name, kms, enrolment });
    const { sha256, sha384 } = initdataDigests(initdata);
    const draft = `${options.out}.draft`;
    writeFile(draft, frameInitdata(initdata));
    try {
      const request = { enrolment, initdataSha256: sha256, initdataSha384: sha384 };
      const record = await ask(METHOD[method], request);
      renameSync(draft, options.out);
      const digests = { initdataSha256: sha256.toString("hex"), initdataSha384: sha384.toString("hex") };
      return { record, digests };
    } finally {
      rmSync(draft, { force: true });
    }
  });
}

function plain(record: NodeRecord): Record<string, unknown> {
  const { name, role, diskState, diskUuid, generation, epoch, lease } = record;
  return {
    name,
    role,
    disk: { state: diskState, uuid: diskUuid, generation, epoch },
    lease: lease && { id: lease.id, expires: time(lease.expiresUnixMs) },
    created: time(record.createdUnixMs),
    lastUnseal: record.lastUnsealUnixMs === 0n ? undefined : time(record.lastUnsealUnixMs),
  };
}

function listing(records: readonly NodeRecord[], style: Style): string {
  const rows = records.map(({ name, role, diskState, diskUuid, epoch, lease, lastUnsealUnixMs }) => [
    name,
    role,
    diskState,
    diskUuid === "" ? "-" : diskUuid,
    String(epoch),
    lease === undefined ? "-" : style.green(`until ${time(lease.expiresUnixMs)}`),
    lastUnsealUnixMs === 0n ? "never" : time(lastUnsealUnixMs),
  ]);
  return table(["NAME", "ROLE", "DISK", "UUID", "EPOCH", "LEASE", "LAST UNSEALED"], rows, style);
}

const time = (unixMs: bigint) => new Date(Number(unixMs)).toISOString();
