/**
 * The state behind configfs-tsm: report entries with their generations, and the providers that fill them
 * (drivers/virt/coco/tsm.c of Linux 6.12, tsm_report_*, sev_report_new, tdx_report_new).
 */
import type { Faults } from "./faults.ts";
import type { Errno } from "./fuse-protocol.ts";
import type { SnpDriver } from "./snp-driver.ts";
import { MAX_CERTIFICATES } from "./snp-driver.ts";
import type { TdxModule } from "./tdx-guest.ts";

export const MAX_INBLOB = 64;

export interface Blobs {
  readonly outblob: Buffer;
  readonly auxblob: Buffer;
}

export interface Provider {
  readonly name: string;
  /** Files that the provider shows besides inblob, outblob, generation and provider. */
  readonly attributes: readonly ("auxblob" | "privlevel" | "privlevel_floor")[];
  readonly floor: number;
  readonly faults: Faults;
  make(inblob: Buffer, privlevel: number): Promise<Blobs | Errno>;
}

/** One folder. */
export class ReportEntry {
  readonly #provider: Provider;
  #inblob: Buffer = Buffer.alloc(0);
  #privlevel = 0;
  #written = 0n;
  #read = 0n;
  #blobs: Blobs | undefined;

  constructor(provider: Provider) {
    this.#provider = provider;
  }

  get generation(): bigint {
    return this.#written;
  }

  setInblob(bytes: Buffer): void {
    this.#inblob = bytes;
    this.#written++;
  }

  setPrivlevel(text: string): Errno | undefined {
    const level = Number(text);
    if (!/^(?:\d+|0x[0-9a-f]+)\n?$/u.test(text) || level < this.#provider.floor || level > 3) return "EINVAL";
    this.#privlevel = level;
    this.#written++;
    return undefined;
  }

  /** A write that is not the owner's. */
  touch(): void {
    this.#written++;
  }

  async blobs(): Promise<Blobs | Errno> {
    if (this.#inblob.length === 0) return "EINVAL";
    if (this.#blobs !== undefined && this.#read === this.#written) return this.#blobs;
    this.#blobs = undefined;
    const made = await this.#provider.make(this.#inblob, this.#privlevel);
    if (typeof made === "string") return made;
    this.#blobs = made;
    this.#read = this.#written;
    return made;
  }
}

/** sev_report_new() */
export function snpProvider(driver: SnpDriver): Provider {
  return {
    name: "sev_guest",
    attributes: ["auxblob", "privlevel", "privlevel_floor"],
    floor: driver.floor,
    faults: driver.faults,
    async make(inblob, privlevel) {
      if (inblob.length !== MAX_INBLOB) return "EINVAL";
      const answer = await driver.report(inblob, privlevel, MAX_CERTIFICATES);
      if (answer.kind === "failed") return answer.errno;
      if (answer.status === 0x16 || answer.status === 0x27) return "EINVAL";
      if (answer.status !== 0) return "ENXIO";
      return {
        outblob: Buffer.concat([answer.report], answer.size),
        auxblob: Buffer.from(answer.certificates),
      };
    },
  };
}

/** tdx_report_new() */
export function tdxProvider(module: TdxModule): Provider {
  return {
    name: "tdx_guest",
    attributes: [],
    floor: 0,
    faults: module.faults,
    async make(inblob) {
      if (inblob.length !== MAX_INBLOB) return "EINVAL";
      const quote = await module.request((other) => module.quote(other ? Buffer.alloc(64, 0x55) : inblob));
      return typeof quote === "string" ? quote : { outblob: quote, auxblob: Buffer.alloc(0) };
    },
  };
}
