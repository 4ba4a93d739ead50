/**
 * The audit log's entries and their hash chain: each entry's hash covers the one before, so that nothing can be taken
 * out, put in or changed without breaking every hash after it. Entries hold no secrets: digests, names, codes.
 */
import { createHash } from "node:crypto";
import { frame } from "../attest/report-data.ts";
import type { Code } from "../error.ts";

export type AuditAction =
  | "release" // keys went out
  | "refusal" // a node's request was refused
  | "commit"
  | "enrol"
  | "renew"
  | "return" // a lease was given back, or ended by an operator
  | "policy"
  | "collateral"
  | "node" // added, removed, its disk reset
  | "operator-refusal";

export interface AuditDraft {
  readonly action: AuditAction;
  /** The node's name, or "" where none was established. */
  readonly node: string;
  readonly code: Code | "OK";
  /** Becomes JSON. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface AuditEntry {
  readonly sequence: bigint;
  readonly timeUnixMs: bigint;
  readonly action: string;
  readonly node: string;
  readonly code: string;
  readonly detail: string;
  readonly hash: Buffer;
}

export const GENESIS = Buffer.alloc(32);

/** SHA-256 over the length-framed label, previous hash, sequence and time (u64, big-endian), and the texts. */
export function chainHash(previous: Uint8Array, entry: Omit<AuditEntry, "hash">): Buffer {
  const numbers = Buffer.alloc(16);
  numbers.writeBigUInt64BE(entry.sequence, 0);
  numbers.writeBigUInt64BE(entry.timeUnixMs, 8);
  const texts = [entry.action, entry.node, entry.code, entry.detail].map((text) => Buffer.from(text));
  return createHash("sha256")
    .update(frame(Buffer.from("sealet/v1/audit"), previous, numbers, ...texts))
    .digest();
}

export interface ChainHead {
  readonly sequence: bigint;
  readonly hash: Buffer;
}

/**
 * Follows the chain over the next entries.
 * @returns the new head, or the sequence number of the first entry that does not fit
 */
export function followChain(head: ChainHead, entries: readonly AuditEntry[]): ChainHead | { broken: bigint } {
  let { sequence, hash } = head;
  for (const entry of entries) {
    const fits = entry.sequence === sequence + 1n && chainHash(hash, entry).equals(entry.hash);
    if (!fits) return { broken: sequence + 1n };
    ({ sequence, hash } = entry);
  }
  return { sequence, hash };
}
