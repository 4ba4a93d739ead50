/** systemd, as far as the agent needs it. systemctl speaks to process 1 itself: no message bus has to run. */
import { SealetError } from "../error.ts";
import { runSubprocess } from "../subprocess.ts";

const SYSTEMCTL = "/usr/bin/systemctl";

export interface Services {
  /** Returns when the unit is ready. One that runs is left alone. @throws SERVICE_FAILED */
  start(unit: string, signal: AbortSignal): Promise<void>;
  /** The same, but one that runs is stopped first. @throws SERVICE_FAILED */
  restart(unit: string, signal: AbortSignal): Promise<void>;
  /** Returns when none of them runs. @throws SERVICE_FAILED */
  stop(units: readonly string[], signal: AbortSignal): Promise<void>;
  /** The machine is powered off or rebooted: shutdown.target is active or queued. */
  isGoingDown(signal: AbortSignal): Promise<boolean>;
}

/** @param systemctl another program in its place, for tests */
export function systemd(systemctl = SYSTEMCTL): Services {
  const run = (args: readonly string[], signal: AbortSignal) =>
    runSubprocess(systemctl, args, signal, "SERVICE_FAILED");
  const demand = async (args: readonly string[], signal: AbortSignal) => {
    const { status, output } = await run(args, signal);
    if (status === 0) return;
    throw new SealetError("SERVICE_FAILED", `systemctl ${args.join(" ")}: ${output.split("\n", 1).join("")}`);
  };
  return {
    start: (unit, signal) => demand(["start", unit], signal),
    restart: (unit, signal) => demand(["restart", unit], signal),
    stop: (units, signal) => demand(["stop", ...units], signal),
    isGoingDown: async (signal) => {
      const { output } = await run(["is-system-running"], signal);
      return output === "stopping";
    },
  };
}
