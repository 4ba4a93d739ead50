/**
 * The root key and what is derived from it. It never leaves this object: callers name cluster, purpose, resource and
 * generation, and get a key for exactly that (HKDF-SHA-512, RFC 5869). A key for one purpose can't be asked for as
 * another's: each part of the name is framed with its length.
 */
import { hkdfSync, randomFillSync } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { frame } from "../attest/report-data.ts";
import { Secret } from "../../native/memory.ts";
import { SealetError } from "../error.ts";

type Purpose = "disk-key" | "header-mac";

export interface KeyName {
  readonly cluster: string;
  readonly purpose: Purpose;
  /** What the key is for, part by part: record, role, disk. */
  readonly resource: readonly string[];
  readonly generation: number;
}

export interface RootKey extends Disposable {
  /** @returns 32 bytes, the caller's to wipe */
  derive(name: KeyName): Buffer;
}

const ROOT_KEY_BYTES = 32;
const SALT = Buffer.from("sealet/v1/key");

/** @param key becomes the returned object's */
function rootKey(key: Secret): RootKey {
  return {
    derive({ cluster, purpose, resource, generation }) {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(generation);
      const parts = [cluster, purpose, ...resource].map((part) => Buffer.from(part));
      return Buffer.from(hkdfSync("sha512", key.bytes, SALT, frame(...parts, number), 32));
    },
    [Symbol.dispose]: () => key[Symbol.dispose](),
  };
}

/** Makes the file; never replaces one. @throws CONFIG_INVALID where there is one already */
export function createRootKeyFile(path: string): void {
  using key = Secret.allocate(ROOT_KEY_BYTES);
  try {
    randomFillSync(key.bytes);
    const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      fchmodSync(file, 0o600);
      if (writeSync(file, key.bytes) !== ROOT_KEY_BYTES) throw new Error("short write");
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw new SealetError("CONFIG_INVALID", `The root key ${path} cannot be made`, { cause });
  }
}

/** @throws CONFIG_INVALID: missing, of another length, or readable by others than its owner */
export function readRootKeyFile(path: string): RootKey {
  const key = Secret.allocate(ROOT_KEY_BYTES);
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const { mode, size } = fstatSync(file);
    if ((mode & 0o077) !== 0) throw new SealetError("CONFIG_INVALID", `Others may read the root key ${path}`);
    if (size !== ROOT_KEY_BYTES || readSync(file, key.bytes) !== ROOT_KEY_BYTES)
      throw new SealetError("CONFIG_INVALID", `The root key ${path} is not ${ROOT_KEY_BYTES} bytes`);
    return rootKey(key);
  } catch (cause) {
    key[Symbol.dispose]();
    if (cause instanceof SealetError) throw cause;
    throw new SealetError("CONFIG_INVALID", `The root key ${path} cannot be read`, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
