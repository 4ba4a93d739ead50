/** systemd, as far as the agent needs it. systemctl speaks to process 1 itself: no message bus has to run. */
import { SealetError } from "../error.ts";
import { firstLine, runProgram } from "./program.ts";

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
  const demand = async (args: readonly string[], signal: AbortSignal) => {
    const ran = await runProgram(systemctl, args, signal);
    if (ran.code === 0) return;
    throw new SealetError("SERVICE_FAILED", `systemctl ${args.join(" ")}: ${firstLine(ran)}`);
  };
  return {
    start: (unit, signal) => demand(["start", unit], signal),
    restart: (unit, signal) => demand(["restart", unit], signal),
    stop: (units, signal) => demand(["stop", ...units], signal),
    isGoingDown: async (signal) => {
      const { stdout } = await runProgram(systemctl, ["is-system-running"], signal);
      return stdout.trim() === "stopping";
    },
  };
}
