/**
 * libcryptsetup through koffi: the one place that knows its C interface. Every call that touches a disk or derives a key
 * runs on a worker thread, one at a time for a context. Passphrases are passed as buffers and not kept; the volume key
 * never leaves libcryptsetup and the kernel (it goes to dm-crypt as a logon key of the calling thread's keyring).
 * @see libcryptsetup.h 2.6 to 2.7; structures below with their C declarations
 */
import { constants } from "node:os";

import koffi, { type KoffiFunc } from "koffi";

import { type Code, SealetError } from "../agent/error.ts";

type Handle = object;
type KoffiFunction = KoffiFunc<(...args: (Argument | object)[]) => number>;
type Argument = Handle | Uint8Array | string | number | bigint | null | readonly (Handle | null)[];

const PARAMETERS = {
  // struct crypt_pbkdf_type
  sealet_pbkdf: {
    type: "const char *",
    hash: "const char *",
    time_ms: "uint32_t",
    iterations: "uint32_t",
    max_memory_kb: "uint32_t",
    parallel_threads: "uint32_t",
    flags: "uint32_t",
  },
  // struct crypt_params_luks2
  sealet_luks2: {
    pbkdf: "sealet_pbkdf *",
    integrity: "const char *",
    integrity_params: "void *",
    data_alignment: "size_t",
    data_device: "const char *",
    sector_size: "uint32_t",
    label: "const char *",
    subsystem: "const char *",
  },
} as const;

const PROTOTYPES = {
  crypt_init_data_device: "int f(_Out_ crypt_device **cd, const char *device, const char *data_device)",
  crypt_load: "int f(crypt_device *cd, const char *type, void *params)",
  crypt_set_metadata_size: "int f(crypt_device *cd, uint64_t metadata, uint64_t keyslots)",
  crypt_set_data_offset: "int f(crypt_device *cd, uint64_t sectors)",
  crypt_set_pbkdf_type: "int f(crypt_device *cd, const sealet_pbkdf *pbkdf)",
  crypt_format:
    "int f(crypt_device *cd, const char *type, const char *cipher, const char *mode, const char *uuid, const uint8_t *key, size_t key_size, const sealet_luks2 *params)",
  crypt_keyslot_add_by_volume_key:
    "int f(crypt_device *cd, int keyslot, const uint8_t *key, size_t key_size, const uint8_t *pass, size_t pass_size)",
  crypt_keyslot_add_by_passphrase:
    "int f(crypt_device *cd, int keyslot, const uint8_t *pass, size_t pass_size, const uint8_t *added, size_t added_size)",
  crypt_keyslot_destroy: "int f(crypt_device *cd, int keyslot)",
  crypt_activate_by_passphrase:
    "int f(crypt_device *cd, const char *name, int keyslot, const uint8_t *pass, size_t pass_size, uint32_t flags)",
  crypt_resume_by_passphrase:
    "int f(crypt_device *cd, const char *name, int keyslot, const uint8_t *pass, size_t pass_size)",
  crypt_deactivate: "int f(crypt_device *cd, const char *name)",
  crypt_token_json_get: "int f(crypt_device *cd, int token, _Out_ const char **json)",
  crypt_token_json_set: "int f(crypt_device *cd, int token, const char *json)",
  crypt_set_log_callback: "void f(crypt_device *cd, sealet_log *log, intptr_t context)",
  crypt_free: "void f(crypt_device *cd)",
} as const;
type Name = keyof typeof PROTOTYPES;

const CRYPT_ANY_SLOT = -1;
const CRYPT_PBKDF_NO_BENCHMARK = 1 << 1;
const CRYPT_LOG_ERROR = 1;

interface Library {
  readonly functions: Readonly<Record<Name, KoffiFunction>>;
  readonly log: bigint;
}

/** What libcryptsetup says of each context while a call runs; it becomes part of the error's message. */
const said = new Map<number, string[]>();
let contexts = 0;
let loaded: Library | undefined;

/** At the first use: loading takes 0.1 s, on the event loop's thread, since dlopen(3) knows no other way. */
function library(): Library {
  if (loaded !== undefined) return loaded;
  // libdevmapper would wait until udev has seen each device, and for ever where udev's rules for it are missing.
  process.env["DM_DISABLE_UDEV"] = "1";
  let handle;
  try {
    handle = koffi.load("libcryptsetup.so.12");
  } catch (cause) {
    throw new SealetError("NATIVE_FAILED", "libcryptsetup.so.12 can't be loaded.", { cause });
  }
  koffi.opaque("crypt_device");
  koffi.struct("sealet_pbkdf", PARAMETERS.sealet_pbkdf);
  koffi.struct("sealet_luks2", PARAMETERS.sealet_luks2);
  const proto = koffi.proto("void sealet_log(int level, const char *message, intptr_t context)");
  const log = koffi.register((level: number, message: string, context: number | bigint) => {
    if (level === CRYPT_LOG_ERROR) said.get(Number(context))?.push(message.trim());
  }, koffi.pointer(proto));
  const bind = (name: Name): [Name, KoffiFunction] => [
    name,
    handle.func(PROTOTYPES[name].replace(" f(", ` ${name}(`)),
  ];
  // oxlint-disable-next-line no-unsafe-type-assertion -- every Name is bound
  const functions = Object.fromEntries(NAMES.map(bind)) as Record<Name, KoffiFunction>;
  loaded = { functions, log };
  loaded.functions.crypt_set_log_callback(null, log, 0); // else libcryptsetup writes to stderr
  return loaded;
}
// oxlint-disable-next-line no-unsafe-type-assertion -- the keys of a constant
const NAMES = Object.keys(PROTOTYPES) as Name[];

/** What a format needs to know; sizes in bytes. */
export interface Luks2Format {
  readonly cipher: string;
  readonly mode: string;
  readonly integrity: string;
  readonly keyBytes: number;
  readonly uuid: string;
  readonly sectorBytes: number;
  readonly dataOffsetSectors: number;
  readonly metadataBytes: number;
  readonly keyslotsBytes: number;
  readonly pbkdfIterations: number;
}

const CODES: Readonly<Record<number, Code>> = {
  [constants.errno.EPERM]: "DISK_KEY_REFUSED",
  [constants.errno.ENOENT]: "DISK_KEY_REFUSED", // no keyslot that the passphrase could open
  [constants.errno.EBUSY]: "DISK_BUSY",
  [constants.errno.EEXIST]: "DISK_BUSY",
  [constants.errno.EIO]: "DISK_IO",
  [constants.errno.EILSEQ]: "DISK_IO",
};

export class CryptDevice {
  readonly #handle: Handle;
  readonly #id: number;
  #last: Promise<unknown> = Promise.resolve();
  #freed = false;

  private constructor(handle: Handle, id: number) {
    this.#handle = handle;
    this.#id = id;
  }

  /**
   * @param header where the LUKS2 header is: a block device, or a file (a memfd by /proc/self/fd/N) as detached header
   * @param data the block device with the data; the header's own if left out
   * @throws NATIVE_FAILED, DISK_BUSY, DISK_IO
   */
  static async init(header: string, data?: string): Promise<CryptDevice> {
    const { functions, log } = library();
    const out: (Handle | null)[] = [null];
    const id = ++contexts;
    const result = await run(functions.crypt_init_data_device, out, header, data ?? null);
    const handle = out[0];
    if (result < 0 || handle === null || handle === undefined) throw failure("crypt_init", result, []);
    functions.crypt_set_log_callback(handle, log, id);
    said.set(id, []);
    return new CryptDevice(handle, id);
  }

  /** @throws NATIVE_FAILED the header is none */
  async load(): Promise<void> {
    await this.#call("crypt_load", "LUKS2", null);
  }

  /** A new header with a volume key from the kernel's generator, without keyslots; writes dm-integrity's superblock. */
  async format(format: Luks2Format): Promise<void> {
    const pbkdf = {
      type: "pbkdf2",
      hash: "sha256",
      time_ms: 0,
      iterations: format.pbkdfIterations,
      max_memory_kb: 0,
      parallel_threads: 0,
      flags: CRYPT_PBKDF_NO_BENCHMARK,
    };
    await this.#call("crypt_set_pbkdf_type", pbkdf);
    await this.#call("crypt_set_metadata_size", format.metadataBytes, format.keyslotsBytes);
    await this.#call("crypt_set_data_offset", format.dataOffsetSectors);
    const parameters = {
      pbkdf,
      integrity: format.integrity,
      integrity_params: null,
      data_alignment: 0,
      data_device: null,
      sector_size: format.sectorBytes,
      label: null,
      subsystem: null,
    };
    const { cipher, mode, uuid, keyBytes } = format;
    await this.#call("crypt_format", "LUKS2", cipher, mode, uuid, null, keyBytes, parameters);
  }

  /** Right after `format`: the volume key is still in the context. @returns the keyslot */
  async addFirstKeyslot(passphrase: Buffer): Promise<number> {
    return this.#call(
      "crypt_keyslot_add_by_volume_key",
      CRYPT_ANY_SLOT,
      null,
      0,
      passphrase,
      passphrase.length,
    );
  }

  /** @returns the keyslot @throws DISK_KEY_REFUSED */
  async addKeyslot(passphrase: Buffer, added: Buffer): Promise<number> {
    return this.#call(
      "crypt_keyslot_add_by_passphrase",
      CRYPT_ANY_SLOT,
      passphrase,
      passphrase.length,
      added,
      added.length,
    );
  }

  async destroyKeyslot(keyslot: number): Promise<void> {
    await this.#call("crypt_keyslot_destroy", keyslot);
  }

  /**
   * @param name the device's in /dev/mapper; undefined only tries the passphrase
   * @throws DISK_KEY_REFUSED, DISK_BUSY, DISK_IO, NATIVE_FAILED
   */
  async activate(name: string | undefined, passphrase: Buffer): Promise<void> {
    const { length } = passphrase;
    await this.#call("crypt_activate_by_passphrase", name ?? null, CRYPT_ANY_SLOT, passphrase, length, 0);
  }

  /** Of a suspended device whose key was wiped. @throws DISK_KEY_REFUSED */
  async resume(name: string, passphrase: Buffer): Promise<void> {
    await this.#call("crypt_resume_by_passphrase", name, CRYPT_ANY_SLOT, passphrase, passphrase.length);
  }

  /** @throws DISK_BUSY it is in use */
  async deactivate(name: string): Promise<void> {
    await this.#call("crypt_deactivate", name);
  }

  async readToken(token: number): Promise<string> {
    const out: (string | null)[] = [null];
    await this.#call("crypt_token_json_get", token, out);
    return out[0] ?? "";
  }

  /** @param token which one; undefined takes a free one @returns which */
  async writeToken(token: number | undefined, json: string): Promise<number> {
    return this.#call("crypt_token_json_set", token ?? CRYPT_ANY_SLOT, json);
  }

  /** Waits for the call that runs, then frees the context; active devices stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#freed) return;
    this.#freed = true;
    await this.#last;
    library().functions.crypt_free(this.#handle);
    said.delete(this.#id);
  }

  /** A context is not thread-safe: its calls wait for each other. */
  async #call(name: Name, ...args: (Argument | object)[]): Promise<number> {
    if (this.#freed) throw new SealetError("INTERNAL", `${name} was called on a context that is freed.`);
    const before = this.#last;
    const done = (async () => {
      await before;
      said.set(this.#id, []);
      const result = await run(library().functions[name], this.#handle, ...args);
      if (result < 0) throw failure(name, result, said.get(this.#id) ?? []);
      return result;
    })();
    this.#last = done.catch(() => undefined);
    return done;
  }
}

async function run(called: KoffiFunction, ...args: (Argument | object)[]): Promise<number> {
  return new Promise((resolve, reject) => {
    called.async(...args, (error: unknown, result: number) => {
      if (error === null || error === undefined) resolve(result);
      else reject(new SealetError("NATIVE_FAILED", "libcryptsetup could not be called.", { cause: error }));
    });
  });
}

function failure(name: string, result: number, messages: readonly string[]): SealetError {
  const errno = -result;
  const symbol = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? String(errno);
  const words = messages.length > 0 ? ` ${messages.join(" ")}` : "";
  return new SealetError(CODES[errno] ?? "NATIVE_FAILED", `${name} failed with ${symbol}.${words}`);
}
