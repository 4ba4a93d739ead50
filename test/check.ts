/** `npm run check`: types, lint, format, unused code. Prints each tool's findings; fails if any has one. */
import { spawnSync } from "node:child_process";

const tools: readonly (readonly [string, readonly string[]])[] = [
  ["tsc", []],
  ["oxlint", ["--type-aware", "--deny-warnings"]],
  ["prettier", ["--check", "--log-level=warn", "."]],
  ["knip", []],
];

const failed = tools.filter(([tool, args]) => {
  console.log(`${tool} ${args.join(" ")}`);
  return spawnSync(`node_modules/.bin/${tool}`, args, { stdio: "inherit" }).status !== 0;
});
if (failed.length > 0) {
  console.error(`Not clean: ${failed.map(([tool]) => tool).join(", ")}`);
  process.exitCode = 1;
}
