/** Runs a program: by absolute path, with an empty environment, and nothing on its standard input. */
import { spawn } from "node:child_process";
import { type Code, SealetError } from "./error.ts";

/** e2fsck has a line for each inode that it repairs: all is read, lest it wait or be killed half way; the end is kept. */
const OUTPUT_CHARACTERS = 500;

export interface Ended {
  readonly status: number;
  /** The end of what it printed. */
  readonly output: string;
}

/**
 * @param program absolute
 * @param broken the code for one that can't be started, or was killed
 * @returns also where the program fails; that is the caller's to judge
 * @throws CANCELLED once it has ended
 */
export async function runSubprocess(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
  broken: Code,
): Promise<Ended> {
  const child = spawn(program, args, { env: {}, cwd: "/", signal, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output = `${output}${chunk.toString("latin1")}`.slice(-OUTPUT_CHARACTERS);
    });
  }
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) => {
      reject(new SealetError(broken, `${program} ${why}`, { cause }));
    };
    child.on("error", (error) => {
      // One that was started may still have a disk open: "close" tells its end.
      if (child.pid === undefined) fail(`can't be run: ${error.message}`, error);
    });
    child.on("close", (status, killer) => {
      if (signal.aborted) reject(new SealetError("CANCELLED", `${program} was stopped.`));
      else if (status === null) fail(`was ended by ${killer}.`);
      else resolve({ status, output: output.trim() });
    });
  });
}
