/**
 * Writes zeros, and with them tags, to what was never written, in the background. The kernel does it only while there is
 * no other input or output on the disk; this loop starts it, watches it, and lets dm-clone give way when it is done. It
 * may end at any time: the next boot goes on where this one stopped.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { finishIfInitialised, type Progress, readProgress, setInitialising } from "./stack.ts";

const PERIOD_MS = 2000;

/**
 * @param onProgress called now and then
 * @throws DISK_IO the kernel can't go on
 */
export async function initialise(
  name: string,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<void> {
  if ((await readProgress(name)) === undefined) return;
  await setInitialising(name, true);
  while (!(await finishIfInitialised(name))) {
    const progress = await readProgress(name);
    if (progress !== undefined) onProgress(progress);
    await sleep(PERIOD_MS, undefined, { signal }).catch(() => undefined); // aborted: asked below
    if (signal.aborted) {
      await setInitialising(name, false);
      return;
    }
  }
}
