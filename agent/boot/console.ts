/**
 * Lines for whoever looks at the machine's console, whose other end is the host's: it may hold them back for ever (XOFF,
 * a UART that takes nothing), and must not hold back the agent.
 */
import { constants, openSync, writeSync } from "node:fs";

/** Characters; what does not fit is in the journal and the API as well. */
const MOST_WAITING = 64 * 1024;
const AGAIN_MS = 100;

/** @param path a terminal @returns never waits, never throws */
export function openConsole(path = "/dev/console"): (line: string) => void {
  const fd = tryOpen(path);
  if (fd === undefined) return () => undefined;
  let waiting = Buffer.alloc(0);
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    timer = undefined;
    try {
      while (waiting.length > 0) waiting = waiting.subarray(writeSync(fd, waiting));
    } catch {
      timer = setTimeout(flush, AGAIN_MS).unref();
    }
  };
  return (line) => {
    if (waiting.length + line.length > MOST_WAITING) return;
    waiting = Buffer.concat([waiting, Buffer.from(`${line}\n`)]);
    if (timer === undefined) flush();
  };
}

function tryOpen(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}
