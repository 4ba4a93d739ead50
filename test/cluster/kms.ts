/** `sealet kms` on this machine, by the release executable, with an operator's key and a policy that names a twin. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import type { Policy } from "../../agent/attest/policy.ts";
import { executable } from "../../image/image.ts";
import { pem } from "../../agent/crypto/pem.ts";
import type { AmdCa } from "../twin/amd-ca.ts";
import type { Authority } from "./certificates.ts";
import { freePort, type Server, startServer, until } from "./process.ts";

export interface KmsOptions {
  readonly folder: string;
  readonly cluster: string;
  readonly bind: string;
  readonly addresses: readonly string[];
  readonly apiServer: string;
  readonly authority: Authority;
  readonly twin: AmdCa;
  readonly policy: Policy;
  readonly leaseSeconds: number;
}

export interface TestKms {
  readonly endpoint: string;
  /** The executable, and the KMS's operator socket. */
  readonly program: string;
  readonly socket: string;
  /** Of the process that runs now. */
  readonly pid: () => number;
  /** Runs a command of `sealet` against this KMS; its JSON answer. */
  readonly sealet: (...args: readonly string[]) => Promise<unknown>;
  /** Puts another policy in force; versions must rise. */
  readonly applyPolicy: (policy: Policy) => Promise<void>;
  readonly addNode: (name: string) => Promise<NodeInitdata>;
  readonly start: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

const added = z.object({ initdataSha256: z.string() });

export interface NodeInitdata {
  /** The disk image. */
  readonly file: string;
  /** SHA-256 of the initdata: what a launch binds as SNP HOST_DATA. */
  readonly hostData: string;
}

export async function startTestKms(options: KmsOptions): Promise<TestKms> {
  const { folder, twin } = options;
  const program = join(await executable(), "sealet");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const at = (name: string) => join(folder, name);
  const directory = at("kms");
  const socket = join(directory, "operator.sock");
  const key = at("operator.key");
  const run = promisify(execFile);
  const sealet = async (...args: readonly string[]): Promise<unknown> => {
    const env = { PATH: "/usr/bin:/bin", SEALET_KMS_SOCKET: socket, SEALET_OPERATOR_KEY: key };
    const { stdout } = await run(program, [...args, "-o", "json"], { env, timeout: 60_000 });
    return stdout.trim() === "" ? undefined : JSON.parse(stdout);
  };
  const port = await freePort();
  await sealet("operator", "init", "--key", key);
  await sealet(
    ...["kms", "init", "--dir", directory, "--cluster", options.cluster, "--operator-key", `${key}.pub`],
    ...["--endpoint", ...options.addresses.map((address) => `${address}:${port}`)],
    ...["--listen", `${options.bind}:${port}`, "--lease-seconds", String(options.leaseSeconds)],
    ...["--api-server", options.apiServer],
    ...["--cluster-ca-cert", options.authority.certificate, "--cluster-ca-key", options.authority.key],
  );
  writeCollateral(join(directory, "collateral"), twin);
  let server: Server | undefined;
  const start = async () => {
    server = startServer("sealet kms", [program, "kms", "serve", "--dir", directory], { log: at("kms.log") });
    await until(server, async () => (await sealet("nodes", "list")) !== undefined, 20);
  };
  const applyPolicy = async (policy: Policy) => {
    writeFileSync(at("policy.json"), JSON.stringify({ ...policy, cluster: options.cluster }, undefined, 2));
    await sealet("policy", "sign", at("policy.json"), "--out", at("policy.dsse"));
    await sealet("policy", "apply", at("policy.dsse"));
  };
  await start();
  await applyPolicy(options.policy);
  return {
    endpoint: `${options.addresses[0] ?? "127.0.0.1"}:${port}`,
    program,
    socket,
    pid: () => server?.pid ?? 0,
    sealet,
    applyPolicy,
    addNode: async (name) => {
      const file = at(`${name}.initdata`);
      const { initdataSha256 } = added.parse(await sealet("nodes", "add", name, "--out", file));
      return { file, hostData: initdataSha256 };
    },
    start,
    stop: async () => {
      await server?.stop();
    },
  };
}

/** Where AMD's key distribution service has them. */
function writeCollateral(folder: string, twin: AmdCa): void {
  const { ark, ask, crl } = twin.collateral();
  const at = join(folder, "vcek/v1", twin.product);
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "cert_chain"), Buffer.concat([pem("CERTIFICATE", ask), pem("CERTIFICATE", ark)]));
  writeFileSync(join(at, "crl"), crl);
}

/** What a launch of an image would measure, as far as a twin goes: SHA-384 of the unified kernel image. */
export function twinMeasurement(uki: string): string {
  return createHash("sha384").update(readFileSync(uki)).digest("hex");
}
