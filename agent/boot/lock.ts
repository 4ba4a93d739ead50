/**
 * Takes the node out of service, fail closed: no pod runs on and the volume key leaves dm-crypt. For a lost lease, a
 * boot that failed with an open disk, and a machine that goes down.
 *
 * INVARIANT: whatever hangs or fails on the way, it ends with the disk closed or suspended; it never throws.
 */
import { SealetError, asSealetError } from "../error.ts";
import type { Clock } from "./clock.ts";
import type { Journal } from "./journal.ts";
import type { Machine, Unsealed } from "./machine.ts";

export type Locked = "closed" | "suspended" | "open";

/** Milliseconds. What does not stop in time is left behind: the disk goes away under it. */
const STOP_TIMEOUT = 30_000;
const CLOSE_TIMEOUT = 15_000;

export interface LockOptions<Keys extends Unsealed> {
  readonly machine: Pick<Machine<Keys>, "kubernetes" | "disk">;
  readonly journal: Journal;
  readonly clock: Clock;
}

/**
 * @param lastResort whether a disk that can't be closed is suspended: not where the machine goes down anyway, since
 *   whatever has files open there could then not even be killed
 */
export async function lock<Keys extends Unsealed>(
  { machine, journal, clock }: LockOptions<Keys>,
  lastResort: boolean,
): Promise<Locked> {
  const attempt = async (what: string, step: () => Promise<void>): Promise<SealetError | undefined> => {
    const since = clock.monotonic();
    try {
      await step();
      const durationMs = clock.monotonic() - since;
      journal.append({ phase: "lock", kind: "done", durationMs, message: what });
      return undefined;
    } catch (thrown) {
      const error = asSealetError(thrown);
      const message = `${what}: ${error.message}`;
      const durationMs = clock.monotonic() - since;
      journal.append({ phase: "lock", kind: "failed", durationMs, code: error.code, message });
      return error;
    }
  };
  const { kubernetes, disk } = machine;
  await attempt("kubelet, containerd and pods stopped", () =>
    bounded(STOP_TIMEOUT, clock, (signal) => kubernetes.stop(signal)),
  );
  const open = await attempt("state disk closed", () =>
    bounded(CLOSE_TIMEOUT, clock, (signal) => disk.close(signal)),
  );
  if (open === undefined) return "closed";
  if (!lastResort) return "open";
  const failed = await attempt("state disk suspended, its key wiped from dm-crypt", () =>
    bounded(CLOSE_TIMEOUT, clock, () => disk.suspend()),
  );
  return failed === undefined ? "suspended" : "open";
}

/** Unlike a phase of the boot this does not wait for what ignores its signal. */
async function bounded(
  ms: number,
  clock: Clock,
  step: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  const done = new AbortController();
  const late = clock.sleep(ms, done.signal).then(() => {
    over.abort();
    throw new SealetError("TIMEOUT", `Not done within ${ms / 1000} s`);
  });
  try {
    await Promise.race([step(over.signal), late]);
  } finally {
    done.abort();
    late.catch(() => undefined);
  }
}
