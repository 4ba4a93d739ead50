/** Runs something on a logged disk, then boots from what each power cut in it would have left. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import type { DiskState } from "../../agent/disk/decision.ts";
import { HEADER_AREA_BYTES } from "../../agent/disk/layout.ts";
import { createDevice, findDevice, removeDevice } from "../../native/device-mapper.ts";
import { agent, boot, MIB, SIGNAL, TestDisk } from "./guest-disk.ts";
import { mark, Replay, startLog, stopLog, type Write } from "./write-log.ts";

const SIZE = 272 * MIB;

export interface Outcome {
  readonly cuts: number;
  readonly tried: number;
  /** "12 blank, 340 interrupted, 2 sealed" */
  readonly states: string;
}

/** How many cuts are booted from, besides those around each change of state; all of them where it is not given. */
export interface Extent {
  readonly samples?: number;
}

/** Logs what `run` writes to a copy of `disk`. */
async function logged(disk: TestDisk, run: (path: string) => Promise<void>): Promise<readonly Write[]> {
  using copy = new TestDisk(SIZE);
  copy.become(disk);
  await run(await startLog(copy));
  return stopLog();
}

/** A disk that can be written to, over one that stays as it is. */
async function withSnapshot(image: TestDisk, run: (path: string) => Promise<void>): Promise<void> {
  using changes = new TestDisk(SIZE);
  const { path } = await createDevice("cut", "TEST-CUT", [
    { start: 0, sectors: SIZE / 512, type: "snapshot", parameters: `${image.path} ${changes.path} N 8` },
  ]);
  await run(path); // where it fails the guest is done for anyway
  await removeDevice("cut");
}

/**
 * @param next boots from what a cut left; asserts that all is well
 */
async function replay(
  disk: TestDisk,
  writes: readonly Write[],
  { samples }: Extent,
  next: (path: string, state: DiskState, reached: ReadonlySet<string>) => Promise<void>,
): Promise<Outcome> {
  using image = new TestDisk(SIZE);
  image.become(disk);
  const counts = new Map<string, number>();
  const reached = new Set<string>();
  const every = samples === undefined ? 1 : Math.max(1, Math.floor(writes.length / samples));
  let before = "";
  let tried = 0;
  let { facts } = await agent(image).inspect(SIGNAL);
  using replayed = new Replay(image);
  for (let index = 0; index <= writes.length; index++) {
    // Nothing else can change what is found.
    if ((writes[index - 1]?.offset ?? HEADER_AREA_BYTES) < HEADER_AREA_BYTES) {
      replayed.flush();
      ({ facts } = await agent(image).inspect(SIGNAL));
    }
    const found = facts.state;
    const state = `${facts.state} ${facts.epoch}`;
    counts.set(state, (counts.get(state) ?? 0) + 1);
    if (state !== before || index % every === 0 || index === writes.length) {
      replayed.flush();
      await withSnapshot(image, (path) => next(path, found, reached)).catch((cause: unknown) => {
        throw new Error(`after write ${index} of ${writes.length}, disk ${state}: ${String(cause)}`, {
          cause,
        });
      });
      tried++;
    }
    before = state;
    const write = writes[index];
    if (write === undefined) break;
    if (write.mark === undefined) replayed.apply(write);
    else reached.add(write.mark);
  }
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  return { cuts: writes.length + 1, tried, states };
}

export const crashes = {
  /** The KMS has "formatting" on record, whatever was reached. */
  async format(extent: Extent): Promise<Outcome> {
    using blank = new TestDisk(SIZE);
    const writes = await logged(blank, async (path) => {
      await (await boot(path, 1n)).close(SIGNAL);
    });
    return replay(blank, writes, extent, async (path, state) => {
      assert.ok(state === "blank" || state === "interrupted" || state === "sealed", state);
      const node = await boot(path, 1n, { format: state !== "sealed" });
      await node.mount(SIGNAL);
      writeFileSync(FILE, "data");
      await node.close(SIGNAL);
      await (await boot(path, 2n)).close(SIGNAL);
    });
  },

  /** From epoch 1 to 2, with a file written after. The KMS has epoch 1 on record, and 2 once it is committed. */
  async epoch(extent: Extent): Promise<Outcome> {
    using sealed = await sealedDisk();
    const writes = await logged(sealed, async (path) => {
      const node = await boot(path, 2n);
      await mark("committed");
      await node.mount(SIGNAL);
      writeFileSync(FILE, "new", { flush: true });
      await mark("written");
      await node.close(SIGNAL);
    });
    return replay(sealed, writes, extent, async (path, state, reached) => {
      assert.equal(state, "sealed");
      const node = await boot(path, reached.has("committed") ? 3n : 2n);
      await node.mount(SIGNAL);
      if (reached.has("written")) assert.equal(readFileSync(FILE, "utf8"), "new");
      assert.equal(readFileSync(KEPT, "utf8"), "kept");
      await node.close(SIGNAL);
    });
  },

  /** While what was never written is being initialised, and files are written beside it. */
  async initialisation(extent: Extent): Promise<Outcome> {
    using sealed = await sealedDisk();
    const files = Array.from({ length: 6 }, (_, index) => String(index));
    const writes = await logged(sealed, async (path) => {
      const node = await boot(path, 2n);
      await mark("committed");
      await node.mount(SIGNAL);
      const done = node.initialise(SIGNAL);
      for (const name of files) {
        writeFileSync(`${MOUNT}/${name}`, Buffer.alloc(300_000, name), { flush: true });
        await mark(name);
        await sleep(100);
      }
      await done;
      assert.equal((await node.describe()).initialised, 1);
      await mark("initialised");
      await node.close(SIGNAL);
      await (await boot(path, 3n)).close(SIGNAL); // the record now says so
    });
    return replay(sealed, writes, extent, async (path, state, reached) => {
      assert.equal(state, "sealed");
      const { facts } = await agent(path).inspect(SIGNAL);
      const node = await boot(path, facts.epoch + 1n);
      await node.mount(SIGNAL);
      for (const name of files) {
        if (reached.has(name))
          assert.deepEqual(readFileSync(`${MOUNT}/${name}`), Buffer.alloc(300_000, name));
      }
      assert.equal(readFileSync(KEPT, "utf8"), "kept");
      await readAll();
      if (reached.has("initialised")) assert.equal((await node.describe()).initialised, 1);
      await node.close(SIGNAL);
    });
  },
};

export type Crash = keyof typeof crashes;

const MOUNT = "/run/state";
const FILE = `${MOUNT}/file`;
const KEPT = `${MOUNT}/kept`;

async function sealedDisk(): Promise<TestDisk> {
  const disk = new TestDisk(SIZE);
  const node = await boot(disk, 1n);
  await node.mount(SIGNAL);
  writeFileSync(KEPT, "kept");
  await node.close(SIGNAL);
  return disk;
}

/** Every sector of the open disk, whether it was ever written or not. */
async function readAll(): Promise<void> {
  const top = await findDevice("sealet-state");
  execFileSync("/usr/bin/dd", [`if=${top?.path}`, "of=/dev/null", "bs=1M", "iflag=direct"], {
    stdio: "pipe",
  });
}
