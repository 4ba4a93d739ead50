/**
 * The collateral that this KMS appraises with. INVARIANT (I5): a part that is older than one seen before, in this run
 * or any earlier one, does not come into force: an old revocation list would bring what it revoked back. Nor does one that
 * is dated ahead of the clock: it would be remembered, and keep genuine ones out.
 */
import type { Collateral } from "../attest/appraise.ts";
import { isAhead, type Issued, issuedTimes, newest, rolledBack } from "../attest/collateral-bundle.ts";
import { SealetError } from "../error.ts";
import type { Store } from "./store.ts";

const NONE: Collateral = { snp: {} };

export class CollateralInForce {
  readonly #store: Store;
  readonly #read: () => Collateral;
  readonly #now: () => number;
  #current: Collateral = NONE;

  /** @param now ms since 1970 */
  constructor(store: Store, read: () => Collateral, now: () => number) {
    this.#store = store;
    this.#read = read;
    this.#now = now;
  }

  get current(): Collateral {
    return this.#current;
  }

  /** What was in force stays so where this fails. @throws COLLATERAL_ROLLED_BACK, COLLATERAL_INVALID, CONFIG_INVALID */
  async load(): Promise<void> {
    const collateral = this.#read();
    const issued = issuedTimes(collateral);
    const detail = { request: "load-collateral", issued: texts(issued) };
    const refuse = async (error: SealetError): Promise<never> => {
      await this.#store.audit({ action: "operator-refusal", node: "", code: error.code, detail });
      throw error;
    };
    const now = this.#now();
    const ahead = [...issued].flatMap(([name, at]) => (isAhead(at, now) ? [name] : []));
    const [early] = ahead;
    if (early !== undefined)
      return refuse(
        new SealetError("COLLATERAL_INVALID", `Issued ahead of this machine's clock: ${ahead.join(", ")}`, {
          predicate: early,
          expected: `issued before ${text(now)}`,
          found: `issued ${text(issued.get(early))}`,
        }),
      );
    const seen: Issued = new Map(await this.#store.readCollateralTimes());
    const older = rolledBack(seen, issued);
    const [late] = older;
    if (late !== undefined)
      return refuse(
        new SealetError("COLLATERAL_ROLLED_BACK", `Older than seen before: ${older.join(", ")}`, {
          predicate: late,
          expected: `issued ${text(seen.get(late))} or later`,
          found: `issued ${text(issued.get(late))}`,
        }),
      );
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
