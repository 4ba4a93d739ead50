/** A virtio port of a virtual machine: a stream between a program in the guest and this process. */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";

/** A part of a machine that runs beside QEMU. */
export interface Beside {
  /** QEMU's arguments for it. */
  readonly args: readonly string[];
  readonly stop: () => void;
}

/** A virtio port, and what is at its other end. */
export interface Port {
  /** By which the guest knows it. */
  readonly name: string;
  readonly serve: (stream: Socket) => void;
}

/** @param folder where its socket goes */
export async function openPort({ name, serve }: Port, folder: string): Promise<Beside> {
  const path = join(folder, name);
  rmSync(path, { force: true });
  const server = createServer((stream) => {
    stream.on("error", () => stream.destroy());
    serve(stream);
  });
  server.listen(path);
  await once(server, "listening");
  return {
    args: [
      ...["-chardev", `socket,id=${name},path=${path}`],
      ...["-device", `virtserialport,chardev=${name},name=${name}`],
    ],
    stop: () => server.close(),
  };
}
