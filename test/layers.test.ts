/** The layers of the sources: an import points down or sideways, never up. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** From the top down. A folder may import from its own row and from the rows below it. */
const LAYERS: readonly (readonly string[])[] = [
  ["agent/main.ts"],
  ["agent/agent.ts", "agent/cli"],
  ["agent/api"],
  ["agent/boot"],
  ["agent/kms"],
  ["agent/disk", "agent/tee", "agent/kubelet", "agent/collateral"],
  ["agent/attest", "agent/config", "agent/crypto", "agent/api/tls-door.ts", "agent/log.ts", "agent/host.ts"],
  ["native", "agent/api/gen", "agent/api/status.ts", "agent/subprocess.ts", "agent/atomic-file.ts"],
  ["agent/error.ts", "agent/version.ts"],
];

/** The longest entry that the path lies in decides. */
function layerOf(path: string): number {
  let best = { length: -1, layer: -1 };
  for (const [layer, entries] of LAYERS.entries())
    for (const entry of entries)
      if ((path === entry || path.startsWith(`${entry}/`)) && entry.length > best.length)
        best = { length: entry.length, layer };
  return best.layer;
}

function importsOf(path: string): string[] {
  const source = readFileSync(resolve(root, path), "utf8");
  return [...source.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, target = ""]) => target);
}

const sources = globSync(["agent/**/*.ts", "native/**/*.ts"], { cwd: root });

describe("layers", () => {
  it("cover every source file", () => {
    assert.deepEqual(
      sources.filter((path) => layerOf(path) < 0 && path !== "agent/api/gen.ts"),
      [],
    );
  });

  it("imports point down", () => {
    const upward = sources.flatMap((path) =>
      importsOf(path)
        .filter((target) => target.startsWith("."))
        .map((target) => relative(root, resolve(root, dirname(path), target)))
        .filter((target) => layerOf(target) < layerOf(path))
        .map((target) => `${path} -> ${target}`),
    );
    assert.deepEqual(upward, []);
  });

  it("the verifier imports no Node built-in and nothing above it", () => {
    const foreign = sources
      .filter((path) => path.startsWith("agent/attest/"))
      .flatMap((path) =>
        importsOf(path)
          .filter(
            (target) => target.startsWith("node:") || (target.startsWith(".") && !isAttest(path, target)),
          )
          .map((target) => `${path} -> ${target}`),
      );
    assert.deepEqual(foreign, []);
  });
});

function isAttest(path: string, target: string): boolean {
  const resolved = relative(root, resolve(root, dirname(path), target));
  return resolved.startsWith("agent/attest/") || resolved === "agent/error.ts";
}
