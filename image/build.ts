/** `npm run build`: makes the node image, both flavours, and prints what it is. */
import { relative } from "node:path";
import { cacheFolder } from "./artefact.ts";
import { main } from "./command.ts";
import { nodeImage, type Flavour, type Image } from "./image.ts";
import { partNames, version } from "./kubernetes.ts";

await main(async () => {
  for (const flavour of ["release", "lab"] as const satisfies Flavour[])
    print(flavour, await nodeImage(flavour));
  console.log(partNames.map((name) => `${name} ${version(name)}`).join(", "));
});

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function print(flavour: Flavour, { facts, disk, uki }: Image): void {
  const rows = {
    "root hash": facts.rootHash,
    "unified kernel image, SHA-384": facts.ukiSha384,
    kernel: facts.kernel,
    "Debian packages it is taken from": String(facts.debianPackages),
    "files in the root": String(facts.files),
    "root, unpacked": megabytes(facts.treeBytes),
    "root partition": megabytes(facts.rootBytes),
    "unified kernel image": `${megabytes(facts.ukiBytes)}, of which initrd ${megabytes(facts.initrdBytes)}`,
    "executable sealet": megabytes(facts.executableBytes),
    disk: `${megabytes(facts.diskBytes)}  ${disk}`,
    uki: relative(cacheFolder, uki),
  };
  console.log(`\n${flavour}`);
  for (const [name, value] of Object.entries(rows)) console.log(`  ${name.padEnd(34)}${value}`);
}
