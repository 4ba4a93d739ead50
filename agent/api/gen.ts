/**
 * Writes `gen/` from the .proto files beside it, those of the API and of containerd: `npm run gen`. Its output is checked
 * in; a second run leaves no difference.
 */
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const bin = join(here, "../../node_modules/.bin");
const OPTIONS = [
  "outputServices=grpc-js",
  "env=node",
  "forceLong=bigint",
  "enumsAsLiterals=true",
  "importSuffix=.ts",
  "esModuleInterop=true",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
  "useExactTypes=false",
  "useOptionals=none",
];

function buf(folder: string, ...args: string[]): Buffer {
  return execFileSync(join(bin, "buf"), args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
}

function generate(folder: string): void {
  const out = join(folder, "gen");
  rmSync(out, { recursive: true, force: true });
  const plugin = { local: join(bin, "protoc-gen-ts_proto"), out, opt: OPTIONS };
  buf(folder, "generate", "--template", JSON.stringify({ version: "v2", plugins: [plugin] }));
}

generate(here);
generate(join(here, "../kubelet/containerd"));
// For server reflection: the API's files as a serialized google.protobuf.FileDescriptorSet.
const descriptors = buf(here, "build", "--as-file-descriptor-set", "-o", "-#format=binpb").toString("base64");
writeFileSync(
  join(here, "gen/descriptors.ts"),
  `/** google.protobuf.FileDescriptorSet of the .proto files, base64. */\nexport const FILE_DESCRIPTOR_SET =\n  "${descriptors}";\n`,
);
