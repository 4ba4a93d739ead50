/**
 * The test-only disks that make a machine with the lab image confidential: `twin`, with the software TEE, the kernel's
 * CUSE module, the image of tests' pods and ctr, which imports it; and `twin-config`, which says what the launch measured.
 */
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artefact, digest, root } from "../../image/artefact.ts";
import { baseTree } from "../../image/base.ts";
import { command } from "../../image/command.ts";
import { compiled, go } from "../../image/kubernetes.ts";
import { podImage } from "../../image/oci.ts";
import { inTools, toolsTree } from "../../image/tools.ts";
import { kernelRelease } from "../../image/tree.ts";
import { twinCaFolder } from "../twin/ca-folder.ts";
import type { TwinConfigFile } from "../twin/config.ts";
import { twinProgram } from "../twin/program.ts";

/** The image of the disk `twin`. */
export async function twinDisk(): Promise<string> {
  const program = await twinProgram();
  const [tools, base, pod, ca, containerd] = [
    await toolsTree(),
    await baseTree(),
    await podImage(),
    await twinCaFolder(),
    await compiled("containerd"),
  ];
  const sources = ["test/vm/launcher", "test/vm/twin-disk.ts"];
  const folder = await artefact(
    "twin-disk",
    [tools, base, pod, ca, containerd, program, await digest(...sources)],
    async (to) => {
      const tree = join(to.folder, "tree");
      mkdirSync(join(tree, "ca"), { recursive: true });
      for (const file of ["node", "twin.blob"]) copyFileSync(join(program, file), join(tree, file));
      for (const file of readdirSync(ca)) copyFileSync(join(ca, file), join(tree, "ca", file));
      copyFileSync(pod, join(tree, "images.tar"));
      copyFileSync(join(containerd, "ctr"), join(tree, "ctr"));
      const release = kernelRelease(join(base, "tree"));
      const module = `usr/lib/modules/${release}/kernel/fs/fuse/cuse.ko.xz`;
      copyFileSync(join(base, "tree", module), join(tree, "cuse.ko.xz"));
      const options = { log: to.log, label: "twin: disk" };
      await command(...inTools(tools, {}, "xz", ["-d", join(tree, "cuse.ko.xz")]), options);
      await go(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", join(tree, "launch"), "."], {
        cwd: join(root, "test/vm/launcher"),
        log: to.log,
        label: "twin: compiling its launcher",
      });
      // not compressed: what runs from it starts faster
      const image = ["-L", "sealet-twin", "--quiet", join(to.folder, "twin.raw"), tree];
      await command(...inTools(tools, {}, "mkfs.erofs", image), options);
      await command("rm", ["-r", tree], options);
    },
  );
  return join(folder, "twin.raw");
}

export interface Launch {
  /** What the launch measured; hex, 48 bytes. */
  readonly measurement: string;
  /** SHA-256 of the initdata; hex. */
  readonly hostData: string;
  /** SNP's guest policy; default: one that forbids debugging. */
  readonly policy?: string;
  /** Two machines with the same chip are the same machine. */
  readonly chip?: string;
}

/** Writes the disk `twin-config`. */
export function writeTwinConfig(file: string, { measurement, hostData, policy, chip }: Launch): void {
  const config: TwinConfigFile = {
    tee: "sev-snp",
    product: "Genoa",
    interfaces: ["device"],
    ca: "/run/twin/ca",
    ...(chip === undefined ? {} : { chip }),
    machine: { measurement, hostData, ...(policy === undefined ? {} : { policy }) },
  };
  const json = Buffer.from(JSON.stringify(config));
  writeFileSync(file, Buffer.concat([json, Buffer.alloc(4096 - (json.length % 4096))]));
}
