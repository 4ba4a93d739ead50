/**
 * Puts an image that came with the node into containerd's store: the one of every pod's first process, which no registry
 * has. Speaks containerd's own API; what it reads are files of the verified root.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { z } from "zod";
import { isServiceError } from "../../api/status.ts";
import { SealetError } from "../../error.ts";
import { ContentClient, WriteAction, type WriteContentResponse } from "./gen/content.ts";
import { type Descriptor, type GetImageResponse, ImagesClient } from "./gen/images.ts";

/** OCI image-spec 1.1, as far as it is needed. */
const descriptorSchema = z.object({ mediaType: z.string(), digest: z.string(), size: z.number() });
const indexSchema = z.object({ manifests: z.tuple([descriptorSchema]) });
const manifestSchema = z.object({ config: descriptorSchema, layers: z.array(descriptorSchema) });
type Part = z.infer<typeof descriptorSchema>;

const DEADLINE = 30_000;
/** Those of kubelet. */
const NAMESPACE = "k8s.io";
/** Nothing refers to a part before its image is there, and the image is for ever: containerd's collector spares it. */
const KEPT = { "containerd.io/gc.root": "sealet" };

/**
 * @param layout a folder in OCI's image layout, with one manifest
 * @param socket containerd's
 * @throws SERVICE_FAILED, CANCELLED
 */
export async function seedImage(
  name: string,
  layout: string,
  socket: string,
  signal: AbortSignal,
): Promise<void> {
  const blob = ({ digest }: Part) => readFile(join(layout, "blobs", digest.replace(":", "/")));
  const [top] = indexSchema.parse(JSON.parse(await readFile(join(layout, "index.json"), "utf8"))).manifests;
  const target = { mediaType: top.mediaType, digest: top.digest, size: BigInt(top.size) };
  const content = new ContentClient(`unix://${socket}`, credentials.createInsecure());
  const images = new ImagesClient(`unix://${socket}`, credentials.createInsecure());
  try {
    const there = await digestOf(images, name, signal);
    if (there === target.digest) return;
    const manifest = await blob(top);
    const { config, layers } = manifestSchema.parse(JSON.parse(manifest.toString()));
    for (const part of [...layers, config]) await write(content, part, await blob(part), signal);
    await write(content, top, manifest, signal);
    await store(images, there === undefined ? "create" : "update", { name, target }, signal);
  } catch (cause) {
    if (signal.aborted)
      throw new SealetError("CANCELLED", `Giving containerd the image ${name} was cancelled`, { cause });
    if (!isServiceError(cause)) throw cause;
    throw new SealetError("SERVICE_FAILED", `containerd does not take the image ${name}: ${cause.details}`, {
      cause,
    });
  } finally {
    content.close();
    images.close();
  }
}

type Answer<T> = (error: ServiceError | null, response: T) => void;
type Start<T> = (metadata: Metadata, limits: { deadline: number }, answer: Answer<T>) => { cancel(): void };

/** One call that has one answer. */
async function call<T>(signal: AbortSignal, start: Start<T>): Promise<T> {
  signal.throwIfAborted();
  const metadata = new Metadata();
  metadata.set("containerd-namespace", NAMESPACE);
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const running = start(metadata, { deadline: Date.now() + DEADLINE }, (error, response) => {
    if (error === null) resolve(response);
    else reject(error);
  });
  const cancel = () => running.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

async function digestOf(
  images: ImagesClient,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const { image } = await call<GetImageResponse>(signal, (...rest) => images.get({ name }, ...rest));
    return image?.target?.digest;
  } catch (thrown) {
    if (isServiceError(thrown) && thrown.code === status.NOT_FOUND) return undefined;
    throw thrown;
  }
}

async function store(
  images: ImagesClient,
  how: "create" | "update",
  image: { name: string; target: Descriptor },
  signal: AbortSignal,
): Promise<void> {
  await call<unknown>(signal, (...rest) => images[how]({ image }, ...rest));
}

/** In one message: containerd takes up to 16 MiB. */
async function write(content: ContentClient, part: Part, data: Buffer, signal: AbortSignal): Promise<void> {
  const request = {
    action: WriteAction.COMMIT,
    ref: `sealet-${part.digest}`,
    total: BigInt(part.size),
    expected: part.digest,
    offset: 0n,
    data,
    labels: KEPT,
  };
  try {
    await call<WriteContentResponse | undefined>(signal, (metadata, limits, answer) => {
      const stream = content.write(metadata, limits);
      let last: WriteContentResponse | undefined;
      stream.on("data", (response: WriteContentResponse) => (last = response));
      stream.once("error", (error: ServiceError) => answer(error, undefined));
      stream.once("end", () => answer(null, last));
      stream.write(request);
      stream.end();
      return stream;
    });
  } catch (thrown) {
    if (!(isServiceError(thrown) && thrown.code === status.ALREADY_EXISTS)) throw thrown;
  }
}
