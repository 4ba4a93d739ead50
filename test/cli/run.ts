/** The program with a command line, in this process: what it ends with, and what it printed where. */
import { runProgram } from "../../agent/cli/program.ts";

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export async function run(...args: readonly string[]): Promise<Ran> {
  let out = "";
  let err = "";
  const exit = await runProgram(args, {
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: (text: string) => (err += text) },
  });
  return { exit, out, err };
}
