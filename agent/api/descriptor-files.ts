/** The .proto files' descriptors, found by file name and by what is in them. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { FILE_DESCRIPTOR_SET } from "./gen/descriptors.ts";

export interface Descriptors {
  /** Each file as a serialized google.protobuf.FileDescriptorProto. */
  readonly byName: ReadonlyMap<string, Buffer>;
  readonly bySymbol: ReadonlyMap<string, Buffer>;
}

let read: Descriptors | undefined;

export function descriptors(): Descriptors {
  if (read !== undefined) return read;
  const { file: files } = fromBinary(FileDescriptorSetSchema, Buffer.from(FILE_DESCRIPTOR_SET, "base64"));
  const encoded = files.map(
    (file) => [file, Buffer.from(toBinary(FileDescriptorProtoSchema, file))] as const,
  );
  read = {
    byName: new Map(encoded.map(([file, bytes]) => [file.name, bytes])),
    bySymbol: new Map(
      encoded.flatMap(([file, bytes]) => symbolsOf(file).map((symbol) => [symbol, bytes] as const)),
    ),
  };
  return read;
}

/** A file's services, their methods, and messages, by full name: what is asked for in practice. */
function symbolsOf(file: FileDescriptorProto): string[] {
  const full = (name: string) => `${file.package}.${name}`;
  const services = file.service.flatMap((service) => [
    full(service.name),
    ...service.method.map((method) => full(`${service.name}.${method.name}`)),
  ]);
  return [...services, ...file.messageType.map((message) => full(message.name))];
}
