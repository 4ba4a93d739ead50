/**
 * The KMS's directory: its configuration and keys as files, made once by `sealet kms init`, and the database. Root's
 * alone; a directory that others may enter is refused.
 */
import { createPublicKey } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type DocumentKind, parseDocument } from "../config/document.ts";
import { clusterName, endpoint } from "../config/names.ts";
import { SealetError, reasonOf } from "../error.ts";
import { pem } from "../crypto/pem.ts";
import { MAX_LEASE_MS } from "./channel.ts";
import { createCa, openCa } from "./enrolment-ca.ts";
import { type TlsIdentity, createIdentity } from "./identity.ts";
import { podNetwork } from "./pod-network.ts";
import { type RootKey, createRootKeyFile, readRootKeyFile } from "./root-key.ts";
import type { OperatorKeys } from "./signed-file.ts";

export function pathsOf(directory: string) {
  return {
    configuration: join(directory, "kms.json"),
    rootKey: join(directory, "root.key"),
    tlsKey: join(directory, "tls.key"),
    tlsCertificate: join(directory, "tls.crt"),
    caKey: join(directory, "ca.key"),
    caCertificate: join(directory, "ca.crt"),
    operators: join(directory, "operators"),
    collateral: join(directory, "collateral"),
    database: join(directory, "kms.db"),
    socket: join(directory, "operator.sock"),
  };
}

const schema = z.strictObject({
  version: z.literal(1),
  cluster: clusterName,
  /** Where this KMS listens, and under which names the nodes find it. */
  listen: endpoint,
  endpoints: z.array(endpoint).min(1).max(16),
  leaseSeconds: z
    .number()
    .min(0.1)
    .max(MAX_LEASE_MS / 1000),
  nonceSeconds: z.number().min(0.1).max(600),
  certificateDays: z.int().min(1).max(365),
  limits: z.strictObject({
    noncesPerPeer: z.int().min(1),
    nonces: z.int().min(1),
    refusalsPerMinute: z.int().min(1),
    appraisals: z.int().min(1),
    connections: z.int().min(1),
  }),
  /** One: kubelet takes no more. None where nodes only open their disk. */
  apiServers: z.array(z.url({ protocol: /^https$/ })).max(1),
  podNetwork,
  /** Goes into each node's KubeletConfiguration as it is. */
  kubelet: z.record(z.string(), z.json()),
});

type KmsConfiguration = Readonly<z.infer<typeof schema>>;

const KIND: DocumentKind = { what: "kms.json", code: "CONFIG_INVALID", maxBytes: 256 * 1024 };

const DEFAULTS = {
  listen: "[::]:7443",
  leaseSeconds: 300,
  nonceSeconds: 120,
  certificateDays: 90,
  limits: {
    noncesPerPeer: 256,
    nonces: 16_384,
    refusalsPerMinute: 600,
    appraisals: 256,
    connections: 16_384,
  },
  apiServers: [] as string[],
  podNetwork: { cidr: "10.244.0.0/16", nodePrefix: 24 },
  kubelet: { clusterDomain: "cluster.local", clusterDNS: ["10.96.0.10"] },
} as const;

export type Setup = Pick<KmsConfiguration, "cluster" | "endpoints"> &
  Partial<KmsConfiguration> & {
    /** PEM, Ed25519; at least one. */
    readonly operatorKeys: readonly Buffer[];
    /** The cluster's CA, PEM; without one the KMS makes its own. */
    readonly ca?: { readonly certificate: Buffer; readonly privateKey: Buffer };
  };

/** Makes everything, in an empty or missing directory. @throws CONFIG_INVALID */
export async function createDirectory(directory: string, setup: Setup): Promise<void> {
  const { operatorKeys, ca, ...given } = setup;
  const configuration = JSON.stringify({ version: 1, ...DEFAULTS, ...given }, null, 2);
  parseDocument(schema, Buffer.from(configuration), KIND);
  if (operatorKeys.length === 0)
    throw new SealetError("CONFIG_INVALID", "No operator key is given: nobody could add a node");
  const operators = operatorKeys.map((key) => readOperatorKey(key, "An operator key"));
  const paths = pathsOf(directory);
  const tls = await createIdentity(`${setup.cluster} KMS`);
  const authority = ca ?? (await createCa(setup.cluster));
  openCa(authority.certificate, authority.privateKey, 0);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (readdirSync(directory).length > 0)
    throw new SealetError("CONFIG_INVALID", `${directory} is not empty: a KMS may have its keys there`);
  chmodSync(directory, 0o700);
  write(paths.tlsKey, tls.privateKey, 0o600);
  write(paths.tlsCertificate, tls.certificate, 0o644);
  write(paths.caKey, authority.privateKey, 0o600);
  write(paths.caCertificate, authority.certificate, 0o644);
  for (const path of [paths.operators, paths.collateral]) mkdirSync(path, { mode: 0o700 });
  for (const [i, spki] of operators.entries())
    write(join(paths.operators, `${i}.pem`), pem("PUBLIC KEY", spki), 0o644);
  createRootKeyFile(paths.rootKey);
  // Last: a directory with a configuration is a whole one.
  write(paths.configuration, Buffer.from(`${configuration}\n`), 0o644);
}

export interface KmsDirectory {
  readonly configuration: KmsConfiguration;
  readonly rootKey: RootKey;
  readonly tls: TlsIdentity;
  readonly ca: { readonly certificate: Buffer; readonly privateKey: Buffer };
  readonly operators: OperatorKeys;
}

/** @throws CONFIG_INVALID */
export function openDirectory(directory: string): KmsDirectory {
  const paths = pathsOf(directory);
  try {
    if ((statSync(directory).mode & 0o077) !== 0)
      throw new SealetError("CONFIG_INVALID", `Others than its owner may enter ${directory}`);
    return {
      configuration: parseDocument(schema, readFileSync(paths.configuration), KIND),
      rootKey: readRootKeyFile(paths.rootKey),
      tls: { privateKey: readFileSync(paths.tlsKey), certificate: readFileSync(paths.tlsCertificate) },
      ca: { privateKey: readFileSync(paths.caKey), certificate: readFileSync(paths.caCertificate) },
      operators: readdirSync(paths.operators).map((name) => {
        const path = join(paths.operators, name);
        return readOperatorKey(readFileSync(path), path);
      }),
    };
  } catch (cause) {
    if (cause instanceof SealetError) throw cause;
    throw new SealetError("CONFIG_INVALID", `${directory} is not a KMS's directory: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

/** @returns SPKI (DER) @throws CONFIG_INVALID */
function readOperatorKey(text: Buffer, what: string): Buffer {
  // Node takes the public half of it: but whoever has the KMS must not be able to sign as an operator
  if (text.includes("PRIVATE KEY"))
    throw new SealetError(
      "CONFIG_INVALID",
      `${what} is a private one: give its public half (.pub) to the KMS`,
    );
  try {
    const key = createPublicKey(text);
    if (key.asymmetricKeyType === "ed25519") return key.export({ type: "spki", format: "der" });
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", `${what} cannot be read`, { cause });
  }
  throw new SealetError("CONFIG_INVALID", `${what} is not an Ed25519 key`);
}

function write(path: string, bytes: Buffer, mode: number): void {
  writeFileSync(path, bytes, { mode, flag: "wx", flush: true });
}
