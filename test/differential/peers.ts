/**
 * The verifiers that ours is held against. Each is a small program in a folder here: it reads one request a line (JSON), and
 * answers one line: `accepted [STATUS]`, `refused "WHY"`, or `rate N` where the request has `Bench`. Its library's version is
 * pinned by the folder's lock file. No peer is a dependency of the product.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { artefact, digest } from "../../image/artefact.ts";
import { command, has, output, SetupError } from "../../image/command.ts";

/** The folder here. */
export type PeerName = "go-sev-guest" | "sev" | "go-tdx-guest" | "dcap-qvl" | "phala-dcap-qvl";

type Language = "go" | "rust" | "node";

export interface Peer {
  readonly name: PeerName;
  /** What the library is called by those who use it. */
  readonly library: string;
  readonly tee: "snp" | "tdx";
  readonly language: Language;
  /** Tells the status with its answer; else it accepts UpToDate alone. */
  readonly status: boolean;
}

export const PEERS: readonly Peer[] = [
  { name: "go-sev-guest", library: "go-sev-guest", tee: "snp", language: "go", status: false },
  { name: "sev", library: "sev (Rust)", tee: "snp", language: "rust", status: false },
  { name: "go-tdx-guest", library: "go-tdx-guest", tee: "tdx", language: "go", status: false },
  { name: "dcap-qvl", library: "dcap-qvl (Rust)", tee: "tdx", language: "rust", status: true },
  { name: "phala-dcap-qvl", library: "@phala/dcap-qvl (npm)", tee: "tdx", language: "node", status: true },
];

const LOCK = { go: "go.mod", rust: "Cargo.toml", node: "package.json" } as const;
const sources = (name: PeerName): string => join("test", "differential", name);

/** The library's pinned version. */
export function version({ name, language }: Peer): string {
  const text = readFileSync(join(import.meta.dirname, name, LOCK[language]), "utf8");
  const found = {
    go: new RegExp(`/${name} v([0-9.]+)`, "u"),
    rust: new RegExp(`^${name} = .*"=([0-9.]+)"`, "mu"),
    node: /dcap-qvl": "([0-9.]+)"/u,
  }[language].exec(text);
  return found?.[1] ?? "?";
}

const TOOL = {
  go: { program: "go", version: ["version"], hint: "go-sev-guest and go-tdx-guest need Go 1.24 or later." },
  rust: { program: "cargo", version: ["--version"], hint: "sev and dcap-qvl need Rust 1.85 or later." },
  node: { program: "npm", version: ["--version"], hint: "@phala/dcap-qvl needs npm." },
} as const;

/** Fetches and compiles it, where that was not done yet. @returns the program and its arguments */
export async function build({ name, language }: Peer): Promise<readonly [string, ...string[]]> {
  const tool = TOOL[language];
  if (!has(tool.program)) throw new SetupError(`${tool.hint} There is no ${tool.program} in the PATH.`);
  const from = join(import.meta.dirname, name);
  const inputs = [output(tool.program, tool.version), await digest(sources(name))];
  const folder = await artefact(
    `peer-${name}`,
    inputs,
    async ({ folder: to, log }) => {
      const run = (args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}) =>
        command(tool.program, args, { log, label: `${name} (a peer)`, cwd, env, hint: tool.hint });
      const binary = join(to, "peer");
      if (language === "go")
        await run(["build", "-trimpath", "-o", binary, "."], from, { CGO_ENABLED: "0", GOFLAGS: "" });
      else if (language === "rust") {
        const target = join(to, "target");
        await run(["fetch", "--locked"], from);
        await run(["build", "--release", "--locked", "--offline", "--target-dir", target], from);
        copyFileSync(join(target, "release", `${name}-peer`), binary);
        rmSync(target, { recursive: true });
      } else {
        for (const file of ["package.json", "package-lock.json", "main.js"])
          copyFileSync(join(from, file), join(to, file));
        await run(["ci", "--ignore-scripts", "--no-audit", "--no-fund"], to);
      }
    },
    { megabytes: 1500 },
  );
  return language === "node" ? [process.execPath, join(folder, "main.js")] : [join(folder, "peer")];
}

/** A program that answers a line with a line, one after the other. */
export class Conversation {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  /** @param core pinned to it by taskset(1) */
  constructor(
    [program, ...args]: readonly [string, ...string[]],
    { core, env }: { readonly core?: number | undefined; readonly env?: NodeJS.ProcessEnv | undefined } = {},
  ) {
    const [file, argv] =
      core === undefined ? [program, args] : ["taskset", ["-c", String(core), program, ...args]];
    this.#child = spawn(file, argv, {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("no pipe");
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** @throws Error where the program ended */
  async ask(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.#child.spawnfile} ended instead of answering`);
    return value;
  }

  /** How often a second. @throws Error where it answers anything else */
  async rate(line: string): Promise<number> {
    const said = await this.ask(line);
    const value = Number(/^rate ([0-9.]+)$/u.exec(said)?.[1]);
    if (!(value > 0)) throw new Error(`${this.#child.spawnfile} says ${said}`);
    return value;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    await ended;
  }
}
