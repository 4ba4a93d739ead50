/**
 * The test-only disk that a machine with the lab image is confidential by: the kernel's CUSE module and the relay from it
 * to the software TEE on the host; also the image of tests' pods and ctr, which imports it.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { artefact, digest, root } from "../../image/artefact.ts";
import { baseTree } from "../../image/base.ts";
import { command } from "../../image/command.ts";
import { compiled, go } from "../../image/kubernetes.ts";
import { podImage } from "../../image/oci.ts";
import { inTools, toolsTree } from "../../image/tools.ts";
import { kernelRelease } from "../../image/tree.ts";

/** The image of the disk `twin`. */
export async function twinDisk(): Promise<string> {
  const [tools, base, pod, containerd] = [
    await toolsTree(),
    await baseTree(),
    await podImage(),
    await compiled("containerd"),
  ];
  const sources = ["test/vm/relay", "test/vm/twin-disk.ts"];
  const folder = await artefact(
    "twin-disk",
    [tools, base, pod, containerd, await digest(...sources)],
    async (to) => {
      const tree = join(to.folder, "tree");
      mkdirSync(tree);
      copyFileSync(pod, join(tree, "images.tar"));
      copyFileSync(join(containerd, "ctr"), join(tree, "ctr"));
      const release = kernelRelease(join(base, "tree"));
      const module = `usr/lib/modules/${release}/kernel/fs/fuse/cuse.ko.xz`;
      copyFileSync(join(base, "tree", module), join(tree, "cuse.ko.xz"));
      const options = { log: to.log, label: "twin: disk" };
      await command(...inTools(tools, {}, "xz", ["-d", join(tree, "cuse.ko.xz")]), options);
      await go(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", join(tree, "relay"), "."], {
        cwd: join(root, "test/vm/relay"),
        log: to.log,
        label: "twin: compiling its relay",
      });
      // not compressed: what runs from it starts faster
      const image = ["-L", "sealet-twin", "--quiet", join(to.folder, "twin.raw"), tree];
      await command(...inTools(tools, {}, "mkfs.erofs", image), options);
      await command("rm", ["-r", tree], options);
    },
  );
  return join(folder, "twin.raw");
}
