/**
 * The collateral that this KMS appraises with. INVARIANT (I5): a part that is older than one seen before, in this run
 * or any earlier one, does not come into force: an old revocation list would bring what it revoked back.
 */
import type { Collateral } from "../attest/appraise.ts";
import { type Issued, issuedTimes, newest, rolledBack } from "../attest/collateral-bundle.ts";
import { SealetError } from "../error.ts";
import type { Store } from "./store.ts";

const NONE: Collateral = { snp: {} };

export class CollateralInForce {
  readonly #store: Store;
  readonly #read: () => Collateral;
  #current: Collateral = NONE;

  constructor(store: Store, read: () => Collateral) {
    this.#store = store;
    this.#read = read;
  }

  get current(): Collateral {
    return this.#current;
  }

  /** What was in force stays so where this fails. @throws COLLATERAL_ROLLED_BACK, CONFIG_INVALID */
  async load(): Promise<void> {
    const collateral = this.#read();
    const issued = issuedTimes(collateral);
    const seen: Issued = new Map(await this.#store.readCollateralTimes());
    const older = rolledBack(seen, issued);
    const detail = { request: "load-collateral", issued: texts(issued) };
    if (older.length > 0) {
      const [first = ""] = older;
      const error = new SealetError("COLLATERAL_ROLLED_BACK", `Older than seen before: ${older.join(", ")}`, {
        predicate: first,
        expected: `issued ${text(seen.get(first))} or later`,
        found: `issued ${text(issued.get(first))}`,
      });
      await this.#store.audit({ action: "operator-refusal", node: "", code: error.code, detail });
      throw error;
    }
    const times = newest(seen, issued);
    const known = [...times].every(([name, at]) => seen.get(name) === at);
    if (!known) {
      const audit = { action: "collateral", node: "", code: "OK", detail } as const;
      await this.#store.putCollateralTimes(times, audit);
    }
    this.#current = collateral;
  }
}

const text = (at: number | undefined) => (at === undefined ? "never" : new Date(at).toISOString());
const texts = (issued: Issued) => Object.fromEntries([...issued].map(([name, at]) => [name, text(at)]));
