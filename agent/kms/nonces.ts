/**
 * The challenges that are out: each good for one request of the key that asked for it, until it expires. In memory only:
 * after a restart every old nonce is unknown, which is what it should be. Bounded, in total and for each peer.
 */
import { randomBytes } from "node:crypto";
import { SealetError } from "../error.ts";

export interface NonceLimits {
  readonly lifetimeMs: number;
  readonly perPeer: number;
  readonly total: number;
}

interface Issued {
  /** Hex SHA-256 of the SPKI of the key that asked. */
  readonly holder: string;
  readonly peer: string;
  readonly expires: number;
}

export class Nonces {
  readonly #limits: NonceLimits;
  /** In the order of expiry, since all live equally long. */
  readonly #issued = new Map<string, Issued>();
  readonly #countOf = new Map<string, number>();

  constructor(limits: NonceLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#issued.size;
  }

  /** @param peer whose share of the room it takes: an address @throws KMS_BUSY */
  issue(holder: string, peer: string, now: number): { nonce: Buffer; expires: number } {
    this.#forgetExpired(now);
    const ofPeer = this.#countOf.get(peer) ?? 0;
    if (this.#issued.size >= this.#limits.total || ofPeer >= this.#limits.perPeer)
      throw new SealetError("KMS_BUSY", "Too many challenges wait to be answered");
    const nonce = randomBytes(32);
    const expires = now + this.#limits.lifetimeMs;
    this.#issued.set(nonce.toString("latin1"), { holder, peer, expires });
    this.#countOf.set(peer, ofPeer + 1);
    return { nonce, expires };
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
    if (now >= issued.expires)
      throw new SealetError("NONCE_INVALID", "The nonce has expired", {
        predicate: "nonce",
        expected: `use within ${this.#limits.lifetimeMs} ms`,
      });
  }

  #forgetExpired(now: number): void {
    for (const [key, issued] of this.#issued) {
      if (now < issued.expires) return;
      this.#forget(key, issued);
    }
  }

  #forget(key: string, { peer }: Issued): void {
    this.#issued.delete(key);
    const left = (this.#countOf.get(peer) ?? 1) - 1;
    if (left > 0) this.#countOf.set(peer, left);
    else this.#countOf.delete(peer);
  }
}
