/**
 * dm-clone for Debian's kernel, which has the code but does not build it: the state disk needs it. The module is made
 * from Debian's own source package, of the same version as the kernel, with its headers and compiler. It is not signed
 * by Debian; the initrd, which is measured, loads it before it locks the kernel down.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artefact, type Build } from "./artefact.ts";
import { baseTree, packageVersion } from "./base.ts";
import { command } from "./command.ts";
import { inTools, mirror, repositories, toolsTree } from "./tools.ts";
import { kernelRelease } from "./tree.ts";

const MAKEFILE = "obj-m := dm-clone.o\ndm-clone-y := dm-clone-target.o dm-clone-metadata.o\n";

/** The file dm-clone.ko. */
export async function dmCloneModule(): Promise<string> {
  const base = await baseTree();
  const release = kernelRelease(join(base, "tree"));
  const version = packageVersion(base, `linux-image-${release}`);
  const tools = await toolsTree(); // its compiler
  const inputs = [release, version, tools, MAKEFILE, build.toString()];
  const folder = await artefact("dm-clone", inputs, (to) => build(to, tools, release, version), {
    megabytes: 500,
  });
  return join(folder, "dm-clone.ko");
}

async function build({ folder, log }: Build, tools: string, release: string, version: string): Promise<void> {
  const work = join(folder, ".work");
  const module = join(work, "module");
  mkdirSync(join(work, "lists/partial"), { recursive: true });
  mkdirSync(module);
  writeFileSync(join(work, "debian.sources"), repositories());
  const hint = `Set-up downloads Debian's kernel source from ${mirror}: check the network, or set SEALET_MIRROR.`;
  const run = (label: string, program: string, ...args: string[]) =>
    command(...inTools(tools, { cwd: work }, program, args), { log, label: `dm-clone: ${label}`, hint });
  const apt = [
    `Dir::Etc::SourceList=${join(work, "debian.sources")}`,
    "Dir::Etc::SourceParts=/dev/null",
    `Dir::State::Lists=${join(work, "lists")}`,
    "APT::Sandbox::User=root",
  ].flatMap((option) => ["-o", option]);
  // 6.12.117+deb13-cloud-amd64: the kernel's flavour comes last
  const common = release.replace(/-.*$/u, "");
  const source = `linux-source-${release.split(".").slice(0, 2).join(".")}`;
  const packages = [
    `linux-headers-${release}`,
    `linux-headers-${common}-common`,
    `linux-kbuild-${common}`,
    source,
  ];
  await run("package lists", "apt-get", "-q", ...apt, "update");
  await run(
    "kernel source",
    "apt-get",
    "-q",
    ...apt,
    "download",
    ...packages.map((name) => `${name}=${version}`),
  );
  await run("unpacking", "sh", "-ec", 'for package in *.deb; do dpkg-deb -x "$package" .; done');
  const headers = join(work, "usr/src", `linux-headers-${release}`);
  writeFileSync(
    join(headers, "Makefile"),
    readFileSync(join(headers, "Makefile"), "utf8").replaceAll(" /usr/src/", ` ${join(work, "usr/src")}/`),
  );
  // without it no BTF is made, which would need another tool
  rmSync(join(headers, "vmlinux"), { force: true });
  const below = `${source}/drivers/md`;
  await run(
    "source",
    ...["tar", "-xJf", join(work, "usr/src", `${source}.tar.xz`), "-C", module, "--strip-components=3"],
    ...["--wildcards", `${below}/dm-clone*`, `${below}/*.h`],
  );
  writeFileSync(join(module, "Makefile"), MAKEFILE);
  // the same bytes, wherever it is built
  const flags = `KCFLAGS=-ffile-prefix-map=${work}=.`;
  await run("compiling", "make", "-C", headers, `M=${module}`, flags, "modules");
  await run("stripping", "strip", "--strip-debug", join(module, "dm-clone.ko"));
  copyFileSync(join(module, "dm-clone.ko"), join(folder, "dm-clone.ko"));
  rmSync(work, { recursive: true });
}
