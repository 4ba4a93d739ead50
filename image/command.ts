/**
 * Programs that set-up runs: argument arrays, never a shell; their output goes to a log file, whose end is shown when
 * they fail. Must not be used by the agent.
 */
import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { pulse, tail } from "./progress.ts";

/** Set-up cannot go on; the message is for a person and says what to do. */
export class SetupError extends Error {
  override readonly name = "SetupError";
}

export interface CommandOptions {
  /** Where the output goes; appended to. */
  readonly log: string;
  /** What is shown while it runs. */
  readonly label: string;
  readonly cwd?: string;
  /** Added to `environment()`. */
  readonly env?: Readonly<Record<string, string>>;
  /** What a person may do if it fails. */
  readonly hint?: string;
  /** 0 to 19: how much it gives way to others. */
  readonly nice?: number;
}

/**
 * What is passed on of the caller's environment: how to reach the network, whom to trust there, where programs and
 * caches are. What changes a compiler's output (GOAMD64, CGO_CFLAGS, KCFLAGS, ...) is not: no artefact's name tells of it.
 */
const PASSED_ON = [
  /^(?:https?|ftp|all|no)_proxy$/iu,
  /^(?:SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|NETRC|npm_config_\w+)$/u,
  /^GO(?:PROXY|SUMDB|NOSUMDB|NOPROXY|PRIVATE|INSECURE|AUTH|PATH|CACHE|MODCACHE|TOOLCHAIN)$/u,
  /^(?:RUSTUP_(?:HOME|TOOLCHAIN)|CARGO_(?:HOME|(?:REGISTR|SOURCE|HTTP|NET)\w*))$/u,
  /^(?:PATH|HOME|TMPDIR)$/u,
];

function environment(): Record<string, string> {
  const passed = Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && PASSED_ON.some((names) => names.test(name)) ? [[name, value] as const] : [],
  );
  return { ...Object.fromEntries(passed), LC_ALL: "C.UTF-8", TERM: "dumb" };
}

/** Runs a program to its end. @throws SetupError with the end of its output */
export async function command(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<void> {
  const out = openSync(options.log, "a");
  const stop = pulse(options.label, options.log);
  try {
    const nice = options.nice ?? 0;
    const [file, argv] = nice > 0 ? ["nice", ["-n", String(nice), program, ...args]] : [program, [...args]];
    const child = spawn(file, argv, {
      stdio: ["ignore", out, out],
      env: { ...environment(), ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const end = await new Promise<string>((resolve) => {
      child.once("error", (error) => {
        resolve(error.message);
      });
      child.once("exit", (code, signal) => {
        resolve(code === 0 ? "" : `ended with ${signal ?? String(code)}`);
      });
    });
    if (end === "") return;
    const last = tail(options.log, 15).map((line) => `    ${line}`);
    throw new SetupError(
      [`${options.label}: ${program} ${end}. Its last lines (all: ${options.log}):`, ...last, options.hint]
        .filter((line) => line !== undefined)
        .join("\n"),
    );
  } finally {
    stop();
    closeSync(out);
  }
}

/** The output of a short program, trimmed. @throws SetupError if it fails */
export function output(program: string, args: readonly string[]): string {
  const run = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 28, env: environment() });
  if (run.status === 0) return run.stdout.trim();
  throw new SetupError(
    `${program} ${args.join(" ")}: ${run.error?.message ?? run.stderr?.trim() ?? String(run.status)}`,
  );
}

/** Whether a program is on the PATH. */
export function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}

/** Runs a script's main function; what set-up can't get over is told without a stack trace. */
export async function main(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  }
}
