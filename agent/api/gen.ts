/**
 * Writes `gen/` from the .proto files: `npm run gen`. Its output is checked in; a second run leaves no difference.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const bin = join(here, "../../node_modules/.bin");
const out = join(here, "gen");

const template = {
  version: "v2",
  plugins: [
    {
      local: join(bin, "protoc-gen-ts_proto"),
      out,
      opt: [
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
      ],
    },
  ],
};

rmSync(out, { recursive: true, force: true });
const buf = (...args: string[]) =>
  execFileSync(join(bin, "buf"), args, { cwd: here, stdio: ["ignore", "pipe", "inherit"] });
buf("generate", "--template", JSON.stringify(template));
// For server reflection: the same files as a serialized google.protobuf.FileDescriptorSet.
const descriptors = buf("build", "--as-file-descriptor-set", "-o", "-#format=binpb").toString("base64");
writeFileSync(
  join(out, "descriptors.ts"),
  `/** google.protobuf.FileDescriptorSet of the .proto files, base64. */\nexport const FILE_DESCRIPTOR_SET =\n  "${descriptors}";\n`,
);
console.log(readdirSync(out).join("\n"));
