/**
 * `npm test`: sets up what each layer of tests needs and runs it; `npm run test:unit` and so on run one layer.
 * Each layer closes with a line `layer: N passed, N failed`; a layer after a failed one does not run.
 */
import { spawnSync } from "node:child_process";

/** In the order of their cost. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  unit: [
    "node_modules/mocha/bin/mocha.js",
    "--reporter",
    "test/reporter.ts",
    "test/**/!(*.uml|*.vm).test.ts",
  ],
  integration: ["test/uml/run.ts"],
  vm: ["test/vm/run.ts"],
};

const wanted = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : Object.keys(LAYERS)) {
  const layer = LAYERS[name];
  if (layer === undefined) {
    console.error(`No layer of tests is called ${name}; there are ${Object.keys(LAYERS).join(", ")}.`);
    process.exit(2);
  }
  console.log(`\n== ${name} ==`);
  const { status, signal } = spawnSync(process.execPath, layer, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, LAYER: name },
  });
  if (status !== 0) {
    console.error(`The ${name} tests failed (${signal ?? `exit ${status}`}).`);
    process.exit(1);
  }
}
