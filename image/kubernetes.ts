/**
 * Kubernetes and its container runtime, compiled from their Go modules: no distribution has these versions. Versions
 * and checksums of every module are pinned by `image/kubernetes/<part>/go.mod` and `go.sum`, the compiler by TOOLCHAIN;
 * the programs are static (but runc, which needs libseccomp) and reproducible.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { artefact, cacheFolder, digest, root } from "./artefact.ts";
import { command, SetupError } from "./command.ts";
import { say } from "./progress.ts";
import { inTools, toolsTree } from "./tools.ts";

/** Go fetches this compiler itself, as a module, and checks it against its checksum database. */
const TOOLCHAIN = "go1.26.8";
/** What changes a program that is compiled without C, besides its sources and arguments. */
export const GO = {
  GOTOOLCHAIN: TOOLCHAIN,
  GOAMD64: "v1",
  GOEXPERIMENT: "",
  GOFLAGS: "",
  GOENV: "off",
} as const;
/** How small programs of sealet's own are compiled. */
export const SMALL = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="] as const;

interface Part {
  /** The module whose version the programs carry. */
  readonly module: string;
  readonly packages: readonly string[];
  readonly tags?: string;
  readonly cgo?: true;
  readonly ldflags?: (tag: string) => string;
  /** Space for sources and intermediate objects. */
  readonly megabytes: number;
}

const component = "k8s.io/component-base/version";
const containerd = "github.com/containerd/containerd/v2";
const plugins = "github.com/containernetworking/plugins/plugins";

const PARTS = {
  kubernetes: {
    module: "k8s.io/kubernetes",
    packages: ["kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"].map(
      (name) => `k8s.io/kubernetes/cmd/${name}`,
    ),
    ldflags: (tag) => {
      const [major = "", minor = ""] = tag.replace(/^v/u, "").split(".");
      return [
        `-X ${component}.gitVersion=${tag}`,
        `-X ${component}.gitMajor=${major}`,
        `-X ${component}.gitMinor=${minor}`,
        `-X ${component}.gitTreeState=clean`,
      ].join(" ");
    },
    megabytes: 7000,
  },
  containerd: {
    module: containerd,
    packages: ["containerd", "containerd-shim-runc-v2", "ctr"].map((name) => `${containerd}/cmd/${name}`),
    tags: "no_btrfs no_devmapper no_zfs",
    ldflags: (tag) => `-X ${containerd}/version.Version=${tag}`,
    megabytes: 2000,
  },
  cni: {
    module: "github.com/containernetworking/plugins",
    packages: ["main/bridge", "main/loopback", "main/ptp", "ipam/host-local", "meta/portmap"].map(
      (name) => `${plugins}/${name}`,
    ),
    megabytes: 500,
  },
  runc: {
    module: "github.com/opencontainers/runc",
    packages: ["github.com/opencontainers/runc"],
    // without seccomp every pod fails, though the node looks Ready
    tags: "seccomp",
    cgo: true,
    ldflags: (tag) => `-X main.version=${tag.replace(/^v/u, "")}`,
    megabytes: 500,
  },
  etcd: {
    module: "go.etcd.io/etcd/server/v3",
    packages: ["go.etcd.io/etcd/server/v3"],
    megabytes: 1000,
  },
} as const satisfies Record<string, Part>;

export type PartName = keyof typeof PARTS;
export const partNames = ["kubernetes", "containerd", "runc", "cni", "etcd"] as const satisfies PartName[];

/** The version of a part, from its go.mod. */
export function version(name: PartName): string {
  const text = readFileSync(join(root, "image/kubernetes", name, "go.mod"), "utf8");
  const module = PARTS[name].module;
  const line = text
    .split("\n")
    .find((candidate) => candidate.replace("require ", "").trim().startsWith(`${module} v`));
  const found = line?.replace("require ", "").trim().split(" ")[1];
  if (found === undefined)
    throw new SetupError(`image/kubernetes/${name}/go.mod does not require ${module}.`);
  return found;
}

/** A part's compiled programs: a folder of executables. */
export async function compiled(name: PartName): Promise<string> {
  const part: Part = PARTS[name];
  const source = join(root, "image/kubernetes", name);
  const inputs = [JSON.stringify(GO), JSON.stringify(part), version(name), ...flags(name, part)];
  inputs.push(await digest(`image/kubernetes/${name}`));
  if (part.cgo === true) inputs.push(await toolsTree()); // its compiler and libraries
  return artefact(
    name,
    inputs,
    async ({ folder, log }) => {
      // a copy: go must not even be tempted to correct the checked-in files
      const work = join(folder, ".module");
      mkdirSync(work);
      for (const file of ["go.mod", "go.sum"]) copyFileSync(join(source, file), join(work, file));
      for (const path of part.packages) {
        const program = path
          .replace(/\/v\d+$/u, "")
          .split("/")
          .at(-1);
        await go(
          ["build", "-o", name === "etcd" ? join(folder, "etcd") : `${folder}/`, ...flags(name, part), path],
          {
            cwd: work,
            log,
            label: `${name}: compiling ${program ?? ""} ${version(name)}`,
            cgo: part.cgo === true,
          },
        );
      }
      rmSync(work, { recursive: true });
    },
    { megabytes: part.megabytes },
  );
}

function flags(name: PartName, part: Part): string[] {
  const ldflags = `-s -w -buildid= ${part.ldflags?.(version(name)) ?? ""}`.trim();
  return ["-trimpath", "-buildvcs=false", "-mod=readonly", `-ldflags=${ldflags}`, `-tags=${part.tags ?? ""}`];
}

export interface GoOptions {
  readonly cwd: string;
  readonly log: string;
  readonly label: string;
  readonly cgo?: boolean;
}

const goFolder = join(cacheFolder, "go");

/** Runs the pinned Go in the tools tree. */
export async function go(args: readonly string[], options: GoOptions): Promise<void> {
  mkdirSync(goFolder, { recursive: true });
  const env = {
    ...GO,
    HOME: goFolder,
    GOPATH: goFolder,
    GOMODCACHE: join(goFolder, "pkg/mod"),
    GOCACHE: join(goFolder, "build"),
    CGO_ENABLED: options.cgo === true ? "1" : "0",
  };
  say(options.label);
  const [program, argv] = inTools(await toolsTree(), { cwd: options.cwd, env }, "go", args);
  await command(program, argv, {
    log: options.log,
    label: options.label,
    nice: 10,
    hint: "Set-up downloads Go modules: check the network, or set GOPROXY.",
  });
}
