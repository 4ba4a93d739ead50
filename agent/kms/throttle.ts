/**
 * Holds back a peer whose requests keep being refused: each refusal costs the audit log an entry, and a flood would fill
 * the disk. Over its share a peer gets KMS_BUSY before anything is looked at, decided or logged.
 */
import { ipBytes } from "../crypto/ip-address.ts";
import { SealetError } from "../error.ts";

const WINDOW_MS = 60_000;
/** Peers that are counted at once; above it all share one count. */
const MAX_PEERS = 4096;
const REST = "*";

export class Throttle {
  readonly #perMinute: number;
  readonly #refused = new Map<string, number>();
  #windowEnds = 0;

  constructor(refusalsPerMinute: number) {
    this.#perMinute = refusalsPerMinute;
  }

  /** @throws KMS_BUSY */
  admit(peer: string, now: number): void {
    this.#turn(now);
    if ((this.#refused.get(this.#slot(peer)) ?? 0) >= this.#perMinute)
      throw new SealetError(
        "KMS_BUSY",
        "Too many of this address's requests were refused; try again in a minute",
      );
  }

  refused(peer: string, now: number): void {
    this.#turn(now);
    const slot = this.#slot(peer);
    this.#refused.set(slot, (this.#refused.get(slot) ?? 0) + 1);
  }

  #turn(now: number): void {
    if (now < this.#windowEnds && now >= this.#windowEnds - WINDOW_MS) return;
    this.#windowEnds = now + WINDOW_MS;
    this.#refused.clear();
  }

  #slot(peer: string): string {
    return this.#refused.has(peer) || this.#refused.size < MAX_PEERS ? peer : REST;
  }
}

const MAPPED = Buffer.from("00000000000000000000ffff", "hex"); // ::ffff:0:0/96, RFC 4291 §2.5.5.2

/** Whose share a request counts against: an IPv4 address, or an IPv6 network of 64 bits, which one machine may have. */
export function peerGroup(address: string): string {
  const bytes = ipBytes(address);
  if (bytes === undefined) return address;
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.subarray(0, 12).equals(MAPPED)) return bytes.subarray(12).join(".");
  return `${bytes.toString("hex", 0, 8)}::/64`;
}
