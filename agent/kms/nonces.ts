/**
 * The challenges that are out: each good for one request of the key that asked for it, until it expires. In memory only:
 * after a restart every old nonce is unknown, which is what it should be. Bounded: for each peer and for all of them, and
 * for each machine that holds a lease, of which there are no more than nodes.
 */
import { randomBytes } from "node:crypto";
import { SealetError } from "../error.ts";
import type { Share } from "./throttle.ts";

/** A machine needs one at a time; others were lost on their way, and a new one takes the place of the oldest. */
const PER_LEASE = 4;

export interface NonceLimits {
  readonly lifetimeMs: number;
  readonly perPeer: number;
  readonly total: number;
}

interface Issued {
  /** Hex SHA-256 of the SPKI of the key that asked. */
  readonly holder: string;
  readonly share: Share;
  readonly issued: number;
}

export class Nonces {
  readonly #limits: NonceLimits;
  /** In the order of issue, and so of expiry, since all live equally long. */
  readonly #issued = new Map<string, Issued>();
  readonly #countOf = new Map<string, number>();
  #ofPeers = 0;
  #latest = 0;

  constructor(limits: NonceLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#issued.size;
  }

  /** @throws KMS_BUSY */
  issue(holder: string, share: Share, now: number): { nonce: Buffer; expires: number } {
    this.#forgetOver(now);
    const { perPeer, total, lifetimeMs } = this.#limits;
    if (share.leased) {
      if (this.#count(share) >= PER_LEASE) this.#forgetOldest(share);
    } else if (this.#ofPeers >= total || this.#count(share) >= perPeer)
      throw new SealetError("KMS_BUSY", "Too many challenges wait to be answered");
    const nonce = randomBytes(32);
    this.#issued.set(nonce.toString("latin1"), { holder, share, issued: now });
    this.#countOf.set(share.name, this.#count(share) + 1);
    if (!share.leased) this.#ofPeers++;
    return { nonce, expires: now + lifetimeMs };
  }

  /** Uses the nonce up, whatever comes of the request. @throws NONCE_INVALID */
  take(nonce: Buffer, holder: string, now: number): void {
    const key = nonce.toString("latin1");
    const issued = this.#issued.get(key);
    // Another key's request must not use up a nonce: whoever saw it on its way could do so.
    if (issued === undefined || issued.holder !== holder)
      throw new SealetError("NONCE_INVALID", "The nonce is unknown, was used, or is another machine's", {
        predicate: "nonce",
      });
    this.#forget(key, issued);
    if (this.#isOver(issued, now))
      throw new SealetError("NONCE_INVALID", "The nonce has expired", {
        predicate: "nonce",
        expected: `use within ${this.#limits.lifetimeMs} ms`,
      });
  }

  /** Also what a clock that was set back says is yet to be issued: it would live on for as long as it was set back. */
  #isOver({ issued }: Issued, now: number): boolean {
    return now < issued || now >= issued + this.#limits.lifetimeMs;
  }

  #forgetOver(now: number): void {
    const setBack = now < this.#latest;
    this.#latest = now;
    for (const [key, issued] of this.#issued) {
      if (this.#isOver(issued, now)) this.#forget(key, issued);
      else if (!setBack) return; // What follows was issued later.
    }
  }

  #forgetOldest({ name }: Share): void {
    for (const [key, issued] of this.#issued)
      if (issued.share.name === name) return this.#forget(key, issued);
  }

  #count({ name }: Share): number {
    return this.#countOf.get(name) ?? 0;
  }

  #forget(key: string, { share }: Issued): void {
    this.#issued.delete(key);
    if (!share.leased) this.#ofPeers--;
    const left = this.#count(share) - 1;
    if (left > 0) this.#countOf.set(share.name, left);
    else this.#countOf.delete(share.name);
  }
}
