/**
 * What a serving node does beside: it has no place in the boot, since nothing waits for it. Each goes on until it is
 * done; none may end the agent.
 */
import { setTimeout as delay } from "node:timers/promises";
import { asSealetError } from "../error.ts";
import type { Journal } from "./journal.ts";
import type { Facts } from "./sequence.ts";
import type { ThisMachine } from "./this-machine.ts";

export interface Serving {
  readonly facts: Facts;
  readonly machine: Pick<ThisMachine, "initialiseDisk" | "kubernetes" | "renewCertificates">;
  readonly journal: Journal;
  /** Aborted when the node no longer serves. */
  readonly signal: AbortSignal;
  /** There are new certificates. Called again where it throws. */
  readonly onRenewed: () => void;
}

const CERTIFICATES_LOOKED_AT = 3_600_000;

export function afterwards(serving: Serving): void {
  const { facts, machine, journal, signal, onRenewed } = serving;
  void insist(serving, "The state disk is initialised", () => machine.initialiseDisk(signal));
  const { session, told } = facts;
  if (session !== undefined && told !== true)
    void insist(serving, "The node's object tells its TEE", () => machine.kubernetes.tell(session, signal));
  let inUse = true;
  const renewCertificates = async (): Promise<false> => {
    if (await machine.renewCertificates(signal)) inUse = false;
    if (inUse) return false;
    onRenewed();
    inUse = true;
    journal.append({ phase: "agent", kind: "note", message: "Certificates renewed" });
    return false;
  };
  let looking = false;
  const looked = setInterval(() => {
    if (looking) return;
    looking = true;
    void insist(serving, "Certificates looked at", renewCertificates).finally(() => (looking = false));
  }, CERTIFICATES_LOOKED_AT);
  signal.addEventListener("abort", () => clearInterval(looked), { once: true });
}

/** @param step ends in false where there is nothing to tell */
async function insist(
  { journal, signal }: Serving,
  what: string,
  step: () => Promise<unknown>,
): Promise<void> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      if ((await step()) !== false) journal.append({ phase: "agent", kind: "note", message: what });
      return;
    } catch (thrown) {
      const { code, message } = asSealetError(thrown);
      if (signal.aborted) return;
      if (attempt % 10 === 5)
        journal.append({ phase: "agent", kind: "note", code, message: `${what}: ${message}` });
      await delay(Math.min(30_000, 500 * 1.5 ** attempt), undefined, { signal }).catch(() => undefined);
    }
  }
}
