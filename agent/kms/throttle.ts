/**
 * Holds back a peer whose requests keep being refused: each refusal costs the audit log an entry, and a flood would fill
 * the disk. Over its share a peer gets KMS_BUSY before anything is looked at, decided or logged.
 */
import { SealetError } from "../error.ts";

const WINDOW_MS = 60_000;
/** Peers that are counted at once; above it all share one count. */
const MAX_PEERS = 4096;
const REST = "*";

/** Whose room a request takes. */
export interface Share {
  readonly name: string;
  /** It is a machine's that holds a live lease: apart from what strangers share, who could use up all of it. */
  readonly leased: boolean;
}

export class Throttle {
  readonly #perMinute: number;
  readonly #ofPeers = new Map<string, number>();
  /** No more of them than leases. */
  readonly #ofLeases = new Map<string, number>();
  #windowEnds = 0;

  constructor(refusalsPerMinute: number) {
    this.#perMinute = refusalsPerMinute;
  }

  /** @throws KMS_BUSY */
  admit(share: Share, now: number): void {
    this.#turn(now);
    const [refused, name] = this.#slot(share);
    if ((refused.get(name) ?? 0) >= this.#perMinute)
      throw new SealetError(
        "KMS_BUSY",
        "Too many of this peer's requests were refused; try again in a minute",
      );
  }

  refused(share: Share, now: number): void {
    this.#turn(now);
    const [refused, name] = this.#slot(share);
    refused.set(name, (refused.get(name) ?? 0) + 1);
  }

  #turn(now: number): void {
    if (now < this.#windowEnds && now >= this.#windowEnds - WINDOW_MS) return;
    this.#windowEnds = now + WINDOW_MS;
    this.#ofPeers.clear();
    this.#ofLeases.clear();
  }

  #slot({ name, leased }: Share): [Map<string, number>, string] {
    if (leased) return [this.#ofLeases, name];
    const counted = this.#ofPeers.has(name) || this.#ofPeers.size < MAX_PEERS;
    return [this.#ofPeers, counted ? name : REST];
  }
}
