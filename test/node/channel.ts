/**
 * Runs scripts inside a node, for tests only: the guest's side is a unit that reads the names of scripts from /dev/tty1
 * and runs each as root (see root.ts). Scripts and what they print travel by the guest's folder, so nothing is too long.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";

export interface Ran {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The guest's side, in bash: says "ready", then for each name that it reads runs the script and says "NAME EXIT". */
export const CHANNEL_SCRIPT = `
stty -F /dev/tty1 raw -echo
exec 3<>/dev/tty1
echo ready >&3
while read -r name <&3; do
  { bash "/guest/$name" > "/guest/$name.out" 2> "/guest/$name.err" < /dev/null 3>&-; echo "$name $?" >&3; } &
done`;

export class Channel {
  readonly #socket: Duplex;
  readonly #folder: string;
  readonly #waiting = new Map<string, (exit: number | undefined) => void>();
  readonly #ready = Promise.withResolvers<void>();
  #count = 0;
  #closed = false;

  /** @param folder the guest's, on the host */
  constructor(socket: Duplex, folder: string) {
    this.#socket = socket;
    this.#folder = folder;
    this.#ready.promise.catch(() => undefined);
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      const lines = (text + chunk).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) this.#heard(line.trim());
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#closed = true;
      this.#ready.reject(new Error("the guest ended before it could run scripts"));
      for (const settle of this.#waiting.values()) settle(undefined);
    });
  }

  /** Resolves when the guest is far enough to run scripts. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** @throws if the guest ends, or the time is over, before the script does */
  async run(script: string, milliseconds = 30_000): Promise<Ran> {
    await this.#ready.promise;
    if (this.#closed) throw new Error("the guest has ended");
    const name = `script-${++this.#count}`;
    writeFileSync(join(this.#folder, name), script);
    const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
    this.#waiting.set(name, resolve);
    const limit = setTimeout(() => {
      reject(new Error(`not done within ${milliseconds} ms: ${script}`));
    }, milliseconds);
    try {
      this.#socket.write(`${name}\n`);
      const exit = await promise;
      if (exit === undefined) throw new Error(`the guest ended before this did: ${script}`);
      const read = (stream: string) => readFileSync(join(this.#folder, `${name}.${stream}`), "utf8");
      return { exit, stdout: read("out"), stderr: read("err") };
    } finally {
      clearTimeout(limit);
      this.#waiting.delete(name);
    }
  }

  #heard(line: string): void {
    if (line === "ready") this.#ready.resolve();
    const [name = "", exit = ""] = line.split(" ");
    this.#waiting.get(name)?.(Number(exit));
  }
}
