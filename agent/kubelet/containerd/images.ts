/**
 * Puts an image that came with the node into containerd's store: the one of every pod's first process, which no registry
 * has. Speaks containerd's own API; what it reads are files of the verified root.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { z } from "zod";
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
 * @throws SERVICE_FAILED
 */
export async function seedImage(name: string, layout: string, socket: string): Promise<void> {
  const blob = ({ digest }: Part) => readFile(join(layout, "blobs", digest.replace(":", "/")));
  const [top] = indexSchema.parse(JSON.parse(await readFile(join(layout, "index.json"), "utf8"))).manifests;
  const target = { mediaType: top.mediaType, digest: top.digest, size: BigInt(top.size) };
  const content = new ContentClient(`unix://${socket}`, credentials.createInsecure());
  const images = new ImagesClient(`unix://${socket}`, credentials.createInsecure());
  try {
    const there = await digestOf(images, name);
    if (there === target.digest) return;
    const manifest = await blob(top);
    const { config, layers } = manifestSchema.parse(JSON.parse(manifest.toString()));
    for (const part of [...layers, config, top]) await write(content, part, await blob(part));
    await store(images, there === undefined ? "create" : "update", { name, target });
  } catch (thrown) {
    if (!isServiceError(thrown)) throw thrown;
    throw new SealetError("SERVICE_FAILED", `containerd does not take the image ${name}: ${thrown.details}`, {
      cause: thrown,
    });
  } finally {
    content.close();
    images.close();
  }
}

type Answer<T> = (error: ServiceError | null, response: T) => void;

/** One call that has one answer. */
function call<T>(start: (metadata: Metadata, deadline: { deadline: number }, answer: Answer<T>) => unknown) {
  const metadata = new Metadata();
  metadata.set("containerd-namespace", NAMESPACE);
  return new Promise<T>((resolve, reject) => {
    start(metadata, { deadline: Date.now() + DEADLINE }, (error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });
}

async function digestOf(images: ImagesClient, name: string): Promise<string | undefined> {
  try {
    const { image } = await call<GetImageResponse>((...how) => images.get({ name }, ...how));
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
): Promise<void> {
  await call<unknown>((...rest) => images[how]({ image }, ...rest));
}

/** In one message: containerd takes up to 16 MiB. */
async function write(content: ContentClient, part: Part, data: Buffer): Promise<void> {
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
    await call<WriteContentResponse | undefined>((metadata, deadline, answer) => {
      const stream = content.write(metadata, deadline);
      let last: WriteContentResponse | undefined;
      stream.on("data", (response: WriteContentResponse) => (last = response));
      stream.once("error", (error: ServiceError) => answer(error, undefined));
      stream.once("end", () => answer(null, last));
      stream.write(request);
      stream.end();
    });
  } catch (thrown) {
    if (!(isServiceError(thrown) && thrown.code === status.ALREADY_EXISTS)) throw thrown;
  }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "details" in thrown && "metadata" in thrown;
}
