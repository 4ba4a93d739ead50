/**
 * `npm test`: sets up what each layer of tests needs and runs it; `npm run test:unit` and so on run one layer.
 * Each command of a layer closes with a line `layer: N passed, N failed`; what comes after a failed one does not run.
 */
import { spawnSync } from "node:child_process";

const mocha = (...args: string[]) => [
  // hpke and SQLite are said to be experimental in each process otherwise
  "--disable-warning=ExperimentalWarning",
  "node_modules/mocha/bin/mocha.js",
  "--reporter",
  "test/reporter.ts",
  ...args,
];

/** In the order of their cost. */
const LAYERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  unit: [mocha("test/**/!(*.uml|*.node|*.vm).test.ts")],
  // Pieces inside a guest, then whole nodes as guests with the cluster on this machine.
  integration: [["test/uml/run.ts"], ["test/node/run.ts"]],
  vm: [["test/vm/run.ts"]],
};

const wanted = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : Object.keys(LAYERS)) {
  const layer = LAYERS[name];
  if (layer === undefined) {
    console.error(`No layer of tests is called ${name}; there are ${Object.keys(LAYERS).join(", ")}.`);
    process.exit(2);
  }
  console.log(`\n== ${name} ==`);
  for (const command of layer) {
    const { status, signal } = spawnSync(process.execPath, command, {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, LAYER: name },
    });
    if (status === 0) continue;
    console.error(`The ${name} tests failed (${signal ?? `exit ${status}`}).`);
    process.exit(1);
  }
}
