/** Runs a program: by absolute path, with an argument array, an empty environment, and nothing on its standard input. */
import { execFile } from "node:child_process";
import { SealetError } from "../error.ts";

const MAX_OUTPUT = 256 * 1024;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * @param path absolute
 * @returns also where the program fails; that is the caller's to judge
 * @throws SERVICE_FAILED where it can't be started or is killed, CANCELLED
 */
export function runProgram(path: string, args: readonly string[], signal: AbortSignal): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const options = { env: {}, cwd: "/", signal, maxBuffer: MAX_OUTPUT, encoding: "utf8" } as const;
    const child = execFile(path, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === "number") resolve({ code, stdout, stderr });
      else if (signal.aborted)
        reject(new SealetError("CANCELLED", `${path} was cancelled`, { cause: error }));
      else
        reject(
          new SealetError("SERVICE_FAILED", `${path} could not be run: ${error?.message ?? ""}`, {
            cause: error,
          }),
        );
    });
    child.stdin?.end();
  });
}

/** The first line that says something, for an error's message. */
export function firstLine({ stdout, stderr }: Ran): string {
  return `${stderr}\n${stdout}`.split("\n").find((line) => line.trim() !== "") ?? "";
}
