/**
 * Writes zeros, and with them tags, to what was never written, in the background: fast while nothing else uses the disk,
 * else one region at a time, between other requests. It may end at any time: the next boot goes on where this one
 * stopped. Never holds anything up that could be waited for.
 */
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
  while (!(await finishIfInitialised(name))) {
    if (signal.aborted) {
      await stopInitialising(name);
      return;
    }
    const progress = await readProgress(name);
    if (progress !== undefined) onProgress(progress);
    const before = requests;
    requests = await countRequests(name);
    await startInitialising(name, requests === before ? "fast" : "gentle");
    await sleep(PERIOD_MS, undefined, { signal }).catch(() => undefined); // aborted: asked above
  }
}
