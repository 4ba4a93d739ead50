/**
 * Container images of one static program each, in OCI's image layout (image-spec 1.1): the pause image of every pod as a
 * folder, which the agent gives to containerd; the pod of demonstrations and tests as an archive, which ctr imports. The
 * same program gives the same bytes.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { artefact, digest, root } from "./artefact.ts";
import { command } from "./command.ts";
import { go, GO, SMALL } from "./kubernetes.ts";
import { inTools, toolsTree } from "./tools.ts";

/** The names under which containerd knows the images; no registry has them. */
export const PAUSE_IMAGE = "sealet.local/pause:1";
export const POD_IMAGE = "sealet.local/hello:1";

/** The pause image's folder. */
export async function pauseImage(): Promise<string> {
  const tools = await toolsTree(); // its compiler and C library
  const inputs = [PAUSE_IMAGE, tools, await digest("image/pause", "image/oci.ts")];
  const folder = await artefact("pause", inputs, async ({ folder: out, log }) => {
    const source = join(root, "image/pause/pause.c");
    const program = join(out, "pause");
    const flags = ["-static", "-Os", "-s", "-Wall", "-Werror", "-Wl,--build-id=none"];
    const gcc = inTools(tools, {}, "gcc", [...flags, "-o", program, source]);
    await command(...gcc, { log, label: "pause: compiling" });
    for (const { name, content } of layout(PAUSE_IMAGE, "pause", readFileSync(program))) {
      const file = join(out, "image", name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    rmSync(program);
  });
  return join(folder, "image");
}

/** The archive of the pod of `image/pod`. */
export async function podImage(): Promise<string> {
  const inputs = [POD_IMAGE, JSON.stringify(GO), ...SMALL, await digest("image/pod", "image/oci.ts")];
  const folder = await artefact("pod", inputs, async ({ folder: out, log }) => {
    const program = join(out, "hello");
    await go(["build", ...SMALL, "-o", program, "."], {
      cwd: join(root, "image/pod"),
      log,
      label: "pod: compiling",
    });
    writeFileSync(join(out, "hello.tar"), tar(layout(POD_IMAGE, "hello", readFileSync(program))));
    rmSync(program);
  });
  return join(folder, "hello.tar");
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** An image whose only file is the program, as user 65534 unless it is the pause program. */
function layout(name: string, program: string, binary: Buffer): readonly Entry[] {
  const layer = tar([{ name: program, mode: 0o755, content: binary }]);
  const config = json({
    architecture: "amd64",
    os: "linux",
    config: { Entrypoint: [`/${program}`], User: "65534:65534", WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [`sha256:${sha256(layer)}`] },
    history: [{ created_by: "sealet" }],
  });
  const part = (kind: string, content: Buffer) => ({
    mediaType: `application/vnd.oci.image.${kind}`,
    digest: `sha256:${sha256(content)}`,
    size: content.length,
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: part("config.v1+json", config),
    layers: [part("layer.v1.tar", layer)],
  });
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        ...part("manifest.v1+json", manifest),
        platform: { architecture: "amd64", os: "linux" },
        annotations: {
          "io.containerd.image.name": name,
          "org.opencontainers.image.ref.name": name.split(":")[1],
        },
      },
    ],
  });
  const blob = (content: Buffer) => ({ name: `blobs/sha256/${sha256(content)}`, mode: 0o644, content });
  return [
    ...[layer, config, manifest].map(blob),
    { name: "index.json", mode: 0o644, content: index },
    { name: "oci-layout", mode: 0o644, content: json({ imageLayoutVersion: "1.0.0" }) },
  ];
}

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly content: Buffer;
}

/** POSIX.1-1988 "ustar", owner 0, time 0. */
function tar(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ name, mode, content }) => {
    const header = Buffer.alloc(512);
    const octal = (value: number, at: number, length: number) =>
      header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
    header.write(name, 0, 100, "latin1");
    octal(mode, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(content.length, 124, 12);
    octal(0, 136, 12);
    header.write("        0", 148, "latin1"); // the checksum counts as spaces; type: file
    header.write("ustar\u000000", 257, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
