/**
 * Evidence by configfs-tsm, the kernel's interface for every TEE (Linux 6.7 and later). Each request gets a folder of
 * its own; a generation that is not the expected one says that somebody else wrote to it, and what was read is thrown
 * away. SNP lies under the same rule as its device: a request that failed is never repeated. Elsewhere nothing is lost
 * by repeating.
 * @see Documentation/ABI/testing/configfs-tsm-report, drivers/virt/coco/guest/report.c
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Evidence } from "../api/gen/sealet.ts";
import { SealetError, errnoOf, reasonOf } from "../error.ts";
import { CCEL, readEventLog } from "./event-log.ts";
import {
  checkReportData,
  type EvidenceOptions,
  type EvidenceSource,
  type TeeName,
} from "./evidence-source.ts";
import { RequestQueue } from "./request-queue.ts";
import { checkSnpReport } from "./snp-report.ts";
import { checkQuote } from "./tdx-quote.ts";

export const CONFIGFS_TSM = "/sys/kernel/config/tsm/report";

const PROVIDERS: Readonly<Record<string, TeeName>> = {
  sev_guest: "sev-snp",
  tdx_guest: "tdx",
  arm_cca_guest: "arm-cca",
};

/** Milliseconds between requests, as far as the platforms are known to allow (SNP one, TDX 25 a second). */
const SPACING: Readonly<Record<TeeName, number>> = { "sev-snp": 1000, tdx: 40, "arm-cca": 40 };

/** Waits before the repetitions, where repeating is safe; about 6 s together. */
const DELAYS = [50, 100, 200, 400, 800, 1600, 3000] as const;
/** EIO: the host could not have the quote made, as where its quoting service is away. */
const PASSING: readonly (string | undefined)[] = ["EBUSY", "EAGAIN", "EINTR", "ETIMEDOUT", "EIO"];

/** The kernel gives at most 32 KiB (later 16 MiB); no evidence is near this. */
const MAX_BLOB = 1 << 20;

export interface ConfigfsTsmOptions {
  readonly path?: string;
  readonly vmpl?: number;
  readonly spacing?: number;
  readonly delays?: readonly number[];
  /** Where the firmware's event log is (TDX). */
  readonly eventLog?: string;
}

/** It did not work this time, and nothing is wrong with the TEE or lost by it. */
class NotThisTime extends Error {
  override readonly name = "NotThisTime";
}

export class ConfigfsTsm implements EvidenceSource {
  readonly tee: TeeName;
  readonly origin: string;
  readonly #provider: string;
  readonly #vmpl: number;
  readonly #queue: RequestQueue;
  readonly #delays: readonly number[];
  readonly #eventLog: string;

  /** @param provider as the kernel names it */
  constructor(provider: string, options: ConfigfsTsmOptions = {}) {
    const tee = PROVIDERS[provider];
    if (tee === undefined)
      throw new SealetError("TEE_ABSENT", `configfs-tsm has a provider that is not known: ${provider}`);
    this.tee = tee;
    this.origin = options.path ?? CONFIGFS_TSM;
    this.#provider = provider;
    this.#vmpl = options.vmpl ?? 0;
    this.#queue = new RequestQueue(options.spacing ?? SPACING[tee]);
    this.#delays = options.delays ?? DELAYS;
    this.#eventLog = options.eventLog ?? CCEL;
  }

  async getEvidence(reportData: Uint8Array, options: EvidenceOptions): Promise<Evidence> {
    checkReportData(reportData);
    return this.#queue.run(() => this.#repeat(reportData, options), options.signal);
  }

  async #repeat(reportData: Uint8Array, { signal, vmpl = this.#vmpl }: EvidenceOptions): Promise<Evidence> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(reportData, vmpl);
      } catch (error) {
        const delay = this.#delays[attempt];
        if (delay === undefined || !this.#mayRepeat(error)) throw this.#failure(error);
        try {
          await sleep(delay, undefined, { signal });
        } catch (cause) {
          throw new SealetError("CANCELLED", "The request for evidence was given up", { cause });
        }
      }
    }
  }

  async #attempt(reportData: Uint8Array, vmpl: number): Promise<Evidence> {
    return inFolder(this.origin, async (folder) => {
      const provider = await readText(join(folder, "provider"));
      if (provider !== this.#provider)
        throw new SealetError("TEE_ABSENT", "configfs-tsm has another provider than at the start", {
          expected: this.#provider,
          found: provider,
        });
      const begin = await readGeneration(folder);
      let writes = 0n;
      if (this.tee === "sev-snp") {
        await this.#checkFloor(folder, vmpl);
        await writeFile(join(folder, "privlevel"), String(vmpl));
        writes++;
      }
      await writeFile(join(folder, "inblob"), reportData);
      writes++;
      const report = await readBlob(join(folder, "outblob"));
      const auxiliary = await readAuxiliary(join(folder, "auxblob"));
      const end = await readGeneration(folder);
      if (end !== begin + writes)
        throw new NotThisTime(`generation ${end} instead of ${begin + writes}: somebody else wrote`);
      // not every driver looks at the status that the host gives a quote which it failed to make
      if (this.tee !== "sev-snp" && report.length === 0) throw new NotThisTime("the host gave no quote");
      if (this.tee === "sev-snp") checkSnpReport(report, reportData, vmpl);
      if (this.tee === "tdx") checkQuote(report, reportData);
      const eventLog = this.tee === "tdx" ? await readEventLog(this.#eventLog) : Buffer.alloc(0);
      return { tee: this.tee, report, auxiliary, eventLog };
    });
  }

  /** A level below the floor would be refused by write(2) with an EINVAL that says nothing. */
  async #checkFloor(folder: string, vmpl: number): Promise<void> {
    const floor = Number(await readText(join(folder, "privlevel_floor")));
    if (vmpl < floor)
      throw new SealetError("TEE_REFUSED", "This kernel may not ask for reports of a higher privilege", {
        expected: `VMPL ${floor} or more`,
        found: `VMPL ${vmpl}`,
      });
  }

  #mayRepeat(error: unknown): boolean {
    if (error instanceof NotThisTime) return true;
    return this.tee !== "sev-snp" && PASSING.includes(errnoOf(error));
  }

  #failure(error: unknown): SealetError {
    if (error instanceof SealetError) return error;
    if (error instanceof NotThisTime)
      return new SealetError("EVIDENCE_THROTTLED", `${this.origin}: ${error.message}`, { cause: error });
    const errno = errnoOf(error);
    const what = `${this.origin} (${this.#provider}) failed: ${errno ?? reasonOf(error)}`;
    if (errno === "EINVAL" || errno === "ENXIO")
      return new SealetError("TEE_REFUSED", what, { cause: error });
    if (errno === "ENOENT") return new SealetError("TEE_ABSENT", what, { cause: error });
    if (this.tee === "sev-snp")
      return errno === "ENOMEM" || errno === "EACCES" || errno === "EPERM"
        ? new SealetError("NATIVE_FAILED", what, { cause: error })
        : new SealetError("EVIDENCE_CHANNEL_LOST", `${what}; the driver has wiped its key to the firmware`, {
            cause: error,
          });
    if (PASSING.includes(errno)) return new SealetError("EVIDENCE_THROTTLED", what, { cause: error });
    return new SealetError("TEE_REFUSED", what, { cause: error });
  }
}

/** The provider of configfs-tsm on this machine, or undefined where there is none. */
export async function tsmProvider(path: string = CONFIGFS_TSM): Promise<string | undefined> {
  try {
    return await inFolder(path, (folder) => readText(join(folder, "provider")));
  } catch (error) {
    // ENOENT: no configfs or no module; ENXIO: no provider has registered
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENXIO") return undefined;
    throw new SealetError("NATIVE_FAILED", `${path} can't be used: ${errnoOf(error) ?? reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** Runs with a folder of a random name, which is removed whatever happens. */
async function inFolder<T>(base: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = join(base, `sealet-${randomBytes(16).toString("hex")}`);
  await mkdir(folder);
  try {
    return await work(folder);
  } finally {
    // its name never comes again, so one that stays costs a few kilobytes of the kernel's memory and nothing else
    await rmdir(folder).catch(() => undefined);
  }
}

async function readText(path: string): Promise<string> {
  return (await readFile(path, "utf8")).trim();
}

async function readGeneration(folder: string): Promise<bigint> {
  const text = await readText(join(folder, "generation"));
  if (!/^\d{1,20}$/u.test(text))
    throw new SealetError("EVIDENCE_MALFORMED", `configfs-tsm has a generation ${JSON.stringify(text)}`);
  return BigInt(text);
}

/** @throws EVIDENCE_MALFORMED where it has no end */
async function readBlob(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const parts: Buffer[] = [];
    let size = 0;
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(1 << 16), 0, 1 << 16, null);
      if (bytesRead === 0) break;
      parts.push(buffer.subarray(0, bytesRead));
      size += bytesRead;
      if (size > MAX_BLOB)
        throw new SealetError("EVIDENCE_MALFORMED", `${path} is larger than ${MAX_BLOB} bytes`);
    }
    return Buffer.concat(parts);
  } finally {
    await file.close();
  }
}

/** Only some providers have it. */
async function readAuxiliary(path: string): Promise<Buffer> {
  try {
    return await readBlob(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}
