/**
 * Makes the one executable: the agent's TypeScript and its npm packages bundled into one script, laid into the pinned
 * Node binary (a "single executable application"), with koffi's binary beside it.
 *
 * INVARIANT: two builds of the same sources are the same bytes; nothing of this machine (path, time, name) gets in.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Plugin, build } from "esbuild";
import { z } from "zod";

const root = fileURLToPath(new URL("..", import.meta.url));

export type Architecture = "x64" | "arm64";

export interface Executable {
  /** The program, and the library that it loads from its own folder. Both must be in one folder. */
  readonly files: readonly ["sealet", "koffi.node"];
  readonly bytes: number;
}

/**
 * koffi looks for its binary in a node_modules folder; the executable has it beside itself. The file that is replaced
 * is koffi's own hook for bundlers.
 */
const koffiBesideExecutable: Plugin = {
  name: "koffi beside the executable",
  setup(builder) {
    builder.onLoad({ filter: /koffi\/src\/koffi\/src\/static\.js$/ }, () => ({
      contents: `import { createRequire } from "node:module";
        export const loadStatic = () => createRequire(process.execPath)("./koffi.node");`,
    }));
  },
};

/** zod speaks 50 languages; the messages of sealet are English, and every start would load the others. */
const englishOnly: Plugin = {
  name: "zod in English",
  setup(builder) {
    builder.onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
      resolveDir: join(root, "node_modules/zod/v4/locales"),
    }));
  },
};

/** One CommonJS file: grpc-js, which needs a dynamic `require`, does not run from esbuild's ESM. */
async function bundle(outfile: string): Promise<void> {
  const { version } = z
    .object({ version: z.string() })
    .parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));
  await build({
    absWorkingDir: root,
    entryPoints: ["agent/main.ts"],
    outfile,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node26",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    logLevel: "warning",
    // Packages ask import.meta.url only for createRequire: resolved beside the executable, never in a checkout.
    banner: { js: 'const __executable = require("node:url").pathToFileURL(process.execPath).href;' },
    define: {
      "import.meta.url": "__executable",
      "import.meta.dirname": '"/nonexistent"',
      // Packages load their tools for developers otherwise.
      "process.env.NODE_ENV": '"production"',
      SEALET_VERSION: JSON.stringify(version),
    },
    plugins: [koffiBesideExecutable, englishOnly],
  });
}

/** The pinned Node of this architecture: the npm package's own, never the one that happens to run this. */
function pinnedNode(architecture: Architecture): string {
  const require = createRequire(pathToFileURL(join(root, "package.json")));
  return join(dirname(require.resolve(`node-linux-${architecture}/package.json`)), "bin/node");
}

/** No machine code is made at run time: what can be written is never run, as the units demand. */
const NO_JIT = "--jitless";

/**
 * @param outDir made if it is not there; gets the files named in the answer
 */
export async function buildExecutable(
  outDir: string,
  architecture: Architecture = process.arch === "arm64" ? "arm64" : "x64",
): Promise<Executable> {
  const node = pinnedNode(architecture);
  const work = mkdtempSync(join(tmpdir(), "sealet-bundle-"));
  try {
    await bundle(join(work, "sealet.cjs"));
    const config = {
      main: "sealet.cjs",
      executable: node,
      output: "sealet",
      disableExperimentalSEAWarning: true,
      // Code compiled ahead saves 20 ms of every start; it is made by the Node that runs this.
      useCodeCache: architecture === process.arch,
      // NODE_OPTIONS must not reach the agent, nor a debugger by signal, nor a foreign function but by native/.
      execArgvExtension: "none",
      execArgv: [
        NO_JIT,
        "--disable-sigusr1",
        "--no-experimental-ffi",
        "--disable-warning=ExperimentalWarning",
      ],
    };
    writeFileSync(join(work, "sea.json"), JSON.stringify(config));
    // Relative paths, empty environment: neither may show in the result. The seed is that of V8's string hashes,
    // which the compiled code carries; the running program has its own. Compiled code is for the same flags alone.
    execFileSync(node, [NO_JIT, "--random-seed=1", "--build-sea", "sea.json"], {
      cwd: work,
      env: {},
      stdio: ["ignore", "ignore", "inherit"],
    });
    mkdirSync(outDir, { recursive: true });
    copyFileSync(join(work, "sealet"), join(outDir, "sealet"));
    const koffi = `node_modules/@koromix/koffi-linux-${architecture}/linux_${architecture}/koffi.node`;
    copyFileSync(join(root, koffi), join(outDir, "koffi.node"));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return { files: ["sealet", "koffi.node"], bytes: statSync(join(outDir, "sealet")).size };
}
