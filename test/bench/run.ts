/**
 * `npm run bench [NAME...] [-- --FLAG...]`: one file a bench; without names all of them, one after the other. `NAME.uml.ts`
 * runs inside a guest. Flags are the bench's.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const HERE = import.meta.dirname;
const files = new Map(
  readdirSync(HERE)
    .filter((file) => file.endsWith(".ts") && file !== "run.ts")
    .map((file) => [file.replace(/(?:\.uml)?\.ts$/, ""), file]),
);
const isFlag = (argument: string): boolean => argument.startsWith("-");
const wanted = process.argv.slice(2).filter((argument) => !isFlag(argument));
const flags = process.argv.slice(2).filter(isFlag);
for (const name of wanted.length > 0 ? wanted : files.keys()) {
  const file = files.get(name);
  if (file === undefined) {
    console.error(`No bench is called ${name}; there are ${[...files.keys()].join(", ")}.`);
    process.exit(2);
  }
  console.log(`\n== ${name} ==`);
  const path = join(HERE, file);
  const inGuest = file.endsWith(".uml.ts");
  const args = inGuest ? [join(HERE, "..", "uml", "run.ts"), path] : [path, ...flags];
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...args], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
}
