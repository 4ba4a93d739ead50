/**
 * The products of set-up (trees, programs, images), kept outside the checkout and made at most once for the same
 * inputs. A product is built in a temporary folder and renamed when it is whole, so that an interrupted set-up leaves
 * nothing that a later one could take for finished (I10's spirit, for build machines).
 */
import { createHash } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
  existsSync,
} from "node:fs";
import { lstat, readdir, readFile, readlink, rename } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join, resolve } from "node:path";
import { SetupError } from "./command.ts";
import { say } from "./progress.ts";

export const cacheFolder = resolve(process.env["SEALET_CACHE"] ?? "/var/cache/sealet");
/** The checkout. */
export const root = resolve(import.meta.dirname, "..");

export interface Build {
  /** The folder to fill; it becomes the artefact. */
  readonly folder: string;
  /** Where programs log; kept as `<name>.log` in the cache until the next build. */
  readonly log: string;
}

export interface ArtefactOptions {
  /** Space that the build takes at its peak. */
  readonly megabytes?: number;
}

/**
 * The folder `<cache>/<name>-<hash of inputs>`, built if it is not there. One process at a time builds a name; others
 * wait for it.
 * @param inputs everything the product depends on: versions, and contents by `digest(path)`
 * @throws SetupError where it can't be built here
 */
export async function artefact(
  name: string,
  inputs: readonly string[],
  build: (to: Build) => Promise<void>,
  options: ArtefactOptions = {},
): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
  const folder = join(cacheFolder, `${name}-${hash}`);
  if (present(folder)) return folder;
  prepareCache(options.megabytes ?? 100);
  const lock = await takeLock(name);
  try {
    if (present(folder)) return folder;
    const begun = performance.now();
    say(`${name}: building`);
    prune(name);
    const temporary = join(cacheFolder, `.tmp-${name}-${process.pid}`);
    mkdirSync(temporary);
    const log = join(cacheFolder, `${name}.log`);
    rmSync(log, { force: true });
    try {
      await build({ folder: temporary, log });
      await rename(temporary, folder);
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      throw explain(error);
    }
    say(`${name}: built in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    return folder;
  } finally {
    lock.close();
  }
}

/** A hash over files and folders: names, modes, contents; order does not matter. */
export async function digest(...paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  const visit = async (path: string, name: string): Promise<void> => {
    const stat = await lstat(path);
    hash.update(`${name}\0${stat.isDirectory() ? "d" : (stat.mode & 0o111).toString(8)}\0`);
    if (stat.isSymbolicLink()) hash.update(await readlink(path));
    else if (stat.isFile()) hash.update(await readFile(path));
    else
      for (const entry of (await readdir(path)).toSorted()) await visit(join(path, entry), join(name, entry));
  };
  for (const path of paths.toSorted()) await visit(resolve(root, path), path);
  return hash.digest("hex");
}

function present(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const now = new Date();
  try {
    utimesSync(folder, now, now);
  } catch {
    // another user's cache: its age is then not ours to note
  }
  return true;
}

/** What a machine needs that has nothing yet: better said at once than after ten minutes. */
const FIRST_TIME_MEGABYTES = 16_000;

/** Looks before a long set-up whether it can be finished here. @throws SetupError */
export function checkFirstTime(): void {
  const begun =
    existsSync(cacheFolder) && readdirSync(cacheFolder).some((name) => /^kubernetes-[0-9a-f]/u.test(name));
  if (!begun) prepareCache(FIRST_TIME_MEGABYTES);
}

function prepareCache(megabytes: number): void {
  if (process.getuid?.() !== 0)
    throw new SetupError(
      `Set-up makes file system images and keeps them in ${cacheFolder}: run it as root (sudo npm ...).`,
    );
  mkdirSync(cacheFolder, { recursive: true, mode: 0o755 });
  const { bavail, bsize } = statfsSync(cacheFolder);
  const free = Math.floor((bavail * bsize) / 1e6);
  if (free < megabytes)
    throw new SetupError(
      `${cacheFolder} has ${free} MB of free space; this step needs ${megabytes} MB. ` +
        "Free some, or set SEALET_CACHE to a folder on a larger disk.",
    );
}

/** An abstract unix socket is a lock that the kernel lets go of, however its holder ends. */
async function takeLock(name: string): Promise<Server> {
  const address = `\0sealet-artefact:${cacheFolder}:${name}`.slice(0, 100);
  for (let told = false; ;) {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.unref();
    });
    const taken = await new Promise<boolean>((done, fail) => {
      server.once("listening", () => {
        done(true);
      });
      server.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "EADDRINUSE") done(false);
        else fail(error);
      });
      server.listen(address);
    });
    if (taken) {
      server.unref();
      return server;
    }
    if (!told) say(`${name}: another process builds it; waiting`);
    told = true;
    await new Promise<void>((done) => {
      connect(address)
        .once("error", () => undefined)
        .once("close", () => {
          done();
        })
        .resume();
    });
    await new Promise((done) => setTimeout(done, 100));
  }
}

const RECENT_MS = 2 * 3_600_000;

/** Removes what interrupted builds of this name left, and products that nobody used for some time. */
function prune(name: string): void {
  const product = new RegExp(`^${name}-[0-9a-f]{16}$`, "u");
  const left = readdirSync(cacheFolder).filter((entry) =>
    new RegExp(`^\\.tmp-${name}-\\d+$`, "u").test(entry),
  );
  const unused = readdirSync(cacheFolder)
    .filter((entry) => product.test(entry))
    .map((entry) => ({ entry, used: statSync(join(cacheFolder, entry)).mtimeMs }))
    .toSorted((a, b) => b.used - a.used)
    .slice(1)
    .filter(({ used }) => Date.now() - used > RECENT_MS)
    .map(({ entry }) => entry);
  for (const entry of [...left, ...unused]) {
    if (mountedBelow(join(cacheFolder, entry))) continue;
    say(`${name}: removing ${entry}, left from before`);
    rmSync(join(cacheFolder, entry), { recursive: true, force: true });
  }
}

/** Deleting below a live bind mount would delete what is bound there. */
function mountedBelow(folder: string): boolean {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[1]?.startsWith(folder) === true);
}

function explain(error: unknown): unknown {
  if (error instanceof Error && "code" in error && error.code === "ENOSPC")
    return new SetupError(`The disk under ${cacheFolder} is full. Free some space and run this again.`);
  return error;
}
