/**
 * Writes zeros, and with them tags, to what was never written, in the background: fast while nothing else uses the disk,
 * else one region at a time, between other requests, and hardly at all while programs want the processors. It may end at
 * any time: the next boot goes on where this one stopped. Never holds anything up that could be waited for.
 */
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import {
  countRequests,
  finishIfInitialised,
  type Progress,
  readProgress,
  startInitialising,
  stopInitialising,
} from "./stack.ts";

const PERIOD_MS = 1000;
/** On a machine that is never idle one period in so many is taken nevertheless. */
const PATIENCE = 10;

/**
 * @param onProgress called now and then
 * @throws DISK_IO the kernel can't go on
 */
export async function initialise(
  name: string,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<void> {
  let requests = -1;
  let processors = processorTimes();
  let paused = 0;
  while (!(await finishIfInitialised(name))) {
    if (signal.aborted) {
      await stopInitialising(name);
      return;
    }
    const progress = await readProgress(name);
    if (progress !== undefined) onProgress(progress);
    const before = { requests, processors };
    requests = await countRequests(name);
    processors = processorTimes();
    paused = areWanted(before.processors, processors) && paused < PATIENCE ? paused + 1 : 0;
    if (paused > 0) await stopInitialising(name);
    else await startInitialising(name, requests === before.requests ? "fast" : "gentle");
    await sleep(PERIOD_MS, undefined, { signal }).catch(() => undefined); // aborted: asked above
  }
}

/** Milliseconds since boot, of all processors together. */
interface ProcessorTimes {
  readonly programs: number;
  readonly idle: number;
  readonly all: number;
}

function processorTimes(): ProcessorTimes {
  const times = cpus().map((cpu) => cpu.times);
  const sum = (of: (one: (typeof times)[number]) => number) =>
    times.reduce((total, one) => total + of(one), 0);
  return {
    programs: sum(({ user, nice }) => user + nice),
    idle: sum(({ idle }) => idle),
    all: sum(({ user, nice, sys, idle, irq }) => user + nice + sys + idle + irq),
  };
}

/** Little is idle, and it is not the kernel alone, which encrypts for us, that uses them. */
export function areWanted(before: ProcessorTimes, now: ProcessorTimes): boolean {
  const quarter = (now.all - before.all) / 4;
  return now.idle - before.idle < quarter && now.programs - before.programs > quarter;
}
