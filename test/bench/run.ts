/** `npm run bench [NAME...]`: one file a bench; without names all of them, one after the other. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const HERE = import.meta.dirname;
const all = readdirSync(HERE)
  .filter((file) => file.endsWith(".ts") && file !== "run.ts")
  .map((file) => file.slice(0, -3));
const wanted = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : all) {
  if (!all.includes(name)) {
    console.error(`No bench is called ${name}; there are ${all.join(", ")}.`);
    process.exit(2);
  }
  console.log(`\n== ${name} ==`);
  const { status } = spawnSync(process.execPath, [join(HERE, `${name}.ts`)], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
}
