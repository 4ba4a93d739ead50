/**
 * What the state disk costs: the first format, input and output while nothing is initialised yet, while the background
 * initialises, and after; and what a full wipe at the first format would cost instead. Run by
 * `sh image/run.sh test/uml/run.ts test/bench/disk.uml.ts`; a single machine's figures, not a promise.
 */
import { execFileSync } from "node:child_process";
import { closeSync, fdatasyncSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { findDevice } from "../../native/device-mapper.ts";
import { agent, boot, keys, SIGNAL } from "../disk/guest-disk.ts";

const DISK = "/dev/ubdb";
const FILE = "/run/state/bench";
const MIB = 2 ** 20;
const BYTES = 128 * MIB;

const seconds = async (run: () => unknown): Promise<number> => {
  const begun = performance.now();
  await run();
  return (performance.now() - begun) / 1000;
};
const dd = (...args: readonly string[]) => execFileSync("/usr/bin/dd", args, { stdio: "pipe" });

const ms = (value: number) => `${(value * 1000).toFixed(0)} ms`;

interface Row {
  readonly [column: string]: string;
}
const rows: [string, Row][] = [];

async function measure(name: string): Promise<void> {
  const count = `count=${BYTES / MIB}`;
  const write = await seconds(() => dd("if=/dev/zero", `of=${FILE}`, "bs=1M", count, "oflag=direct"));
  const read = await seconds(() => dd(`if=${FILE}`, "of=/dev/null", "bs=1M", count, "iflag=direct"));
  const block = Buffer.alloc(4096, 1);
  const times = await journal(block, 400);
  const small = await seconds(() =>
    dd("if=/dev/zero", `of=${FILE}.4k`, "bs=4k", "count=4000", "oflag=direct"),
  );
  for (const suffix of ["", ".4k", ".journal"]) rmSync(`${FILE}${suffix}`, { force: true });
  rows.push([
    name,
    {
      "write 1M": `${(BYTES / MIB / write).toFixed(0)} MiB/s`,
      "read 1M": `${(BYTES / MIB / read).toFixed(0)} MiB/s`,
      "write 4k": `${(4000 / 256 / small).toFixed(0)} MiB/s`,
      "fdatasync 50 %": `${(times[200] ?? 0).toFixed(2)} ms`,
      "fdatasync 99 %": `${(times[396] ?? 0).toFixed(2)} ms`,
    },
  ]);
}

/** As etcd writes: 4 KiB appended and made durable, again and again. @returns milliseconds, sorted */
async function journal(block: Buffer, count: number): Promise<readonly number[]> {
  const file = openSync(`${FILE}.journal`, "w");
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const begun = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    times.push(performance.now() - begun);
  }
  closeSync(file);
  await sleep(0);
  return times.toSorted((a, b) => a - b);
}

describe("state disk", function () {
  this.timeout(0);

  it("costs", async () => {
    const state = agent(DISK);
    const inspect = await seconds(() => state.inspect(SIGNAL));
    const format = await seconds(() => state.unseal(keys(1n), SIGNAL));
    await state.mount(SIGNAL);
    writeFileSync(`${FILE}.warm`, "");
    await measure("nothing initialised");
    const stop = new AbortController();
    const initialising = state.initialise(stop.signal);
    await sleep(300);
    await measure("being initialised");
    stop.abort();
    await initialising;
    const { initialised } = await state.describe();
    const rest = await seconds(() => state.initialise(SIGNAL));
    await measure("initialised");
    await state.close(SIGNAL);
    const reopened = agent(DISK);
    await reopened.inspect(SIGNAL);
    const open = await seconds(() => reopened.unseal(keys(2n), SIGNAL));
    await reopened.mount(SIGNAL);
    await measure("initialised, next boot");
    await reopened.close(SIGNAL);
    const last = await boot(DISK, 3n);
    await last.mount(SIGNAL);
    await last.close(SIGNAL);
    await boot(DISK, 4n);
    const top = await findDevice("sealet-state");
    execFileSync("/usr/bin/umount", ["/run/sealet/staging"]);
    const wipe = await seconds(() => {
      dd("if=/dev/zero", `of=${top?.path}`, "bs=1M", "oflag=direct", "count=960");
    });
    console.log(`    prove 1 GiB blank ${ms(inspect)}, first format ${ms(format)}, open ${ms(open)}`);
    console.log(
      `    a full wipe of 960 MiB: ${ms(wipe)}; the background's last ${((1 - initialised) * 100).toFixed(0)} %: ${ms(rest)}`,
    );
    const columns = Object.keys(rows[0]?.[1] ?? {});
    console.log(`    | | ${columns.join(" | ")} |`);
    console.log(`    |---|${columns.map(() => "---|").join("")}`);
    for (const [name, row] of rows)
      console.log(`    | ${name} | ${columns.map((column) => row[column]).join(" | ")} |`);
  });
});
