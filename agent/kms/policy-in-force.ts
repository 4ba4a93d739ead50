/**
 * The policy in force. What the database holds is believed no more than what an operator sends: its signature is
 * verified each time it is read into memory, which is once a version.
 */
import { SealetError } from "../error.ts";
import { type OperatorKeys, openPolicy } from "./signed-file.ts";
import type { Store } from "./store.ts";
import type { ReadPolicy, Verifier } from "./verifier.ts";

export class PolicyInForce {
  readonly #store: Pick<Store, "readPolicy">;
  readonly #verifier: Verifier;
  readonly #keys: OperatorKeys;
  readonly #cluster: string;
  #read: ReadPolicy | undefined;

  constructor(store: Pick<Store, "readPolicy">, verifier: Verifier, keys: OperatorKeys, cluster: string) {
    this.#store = store;
    this.#verifier = verifier;
    this.#keys = keys;
    this.#cluster = cluster;
  }

  /** @throws RELEASE_REFUSED where none was applied yet */
  async current(): Promise<ReadPolicy> {
    const stored = await this.#store.readPolicy();
    if (stored === undefined)
      throw new SealetError("RELEASE_REFUSED", "No policy is in force: an operator has to apply one first", {
        predicate: "policy",
        expected: "a policy in force",
        found: "none",
      });
    if (this.#read?.version !== stored.version) {
      const { payload } = await openPolicy(stored.envelope, this.#keys);
      this.#read = this.#verifier.readPolicy(payload, this.#cluster);
    }
    return this.#read;
  }
}
