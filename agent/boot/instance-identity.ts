/**
 * The key by which the KMS knows this machine for as long as this boot lasts: made by its first agent, in memory only,
 * and the same for the next one.
 */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeAtomically } from "../atomic-file.ts";
import { type TlsIdentity, createIdentity } from "../kms/identity.ts";

/** @param runtime a folder on a tmpfs, root's alone */
export async function instanceIdentity(runtime: string): Promise<TlsIdentity> {
  const files = { privateKey: join(runtime, "instance.key"), certificate: join(runtime, "instance.pem") };
  return readIdentity(files) ?? (await makeIdentity(files));
}

type Files = Record<keyof TlsIdentity, string>;

/** @returns nothing for what is not there, or not whole: whoever made it was killed meanwhile, and used it for nothing */
function readIdentity(files: Files): TlsIdentity | undefined {
  try {
    const privateKey = readFileSync(files.privateKey);
    const certificate = readFileSync(files.certificate);
    const matches = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
    return matches ? { privateKey, certificate } : undefined;
  } catch {
    return undefined;
  }
}

async function makeIdentity(files: Files): Promise<TlsIdentity> {
  const identity = await createIdentity("sealet node");
  for (const part of ["privateKey", "certificate"] as const) writeAtomically(files[part], identity[part]);
  return identity;
}
