/** The pause image goes into containerd's store; containerd here is its wire format, served by this test. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { type ContentServer, ContentService } from "../../agent/kubelet/containerd/gen/content.ts";
import { type Image, type ImagesServer, ImagesService } from "../../agent/kubelet/containerd/gen/images.ts";
import { seedImage } from "../../agent/kubelet/containerd/images.ts";

const NAME = "sealet.local/pause:1";
const NEVER = new AbortController().signal;

const digestOf = (bytes: string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const part = (mediaType: string, bytes: string) => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
});

function refusal(code: status, details: string): Error {
  return Object.assign(new Error(details), { code, details });
}

/** An image's folder. @returns its manifest's digest */
function layOut(folder: string, layer: string): string {
  const config = "{}";
  const manifest = JSON.stringify({
    config: part("application/vnd.oci.image.config.v1+json", config),
    layers: [part("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const blob of [layer, config, manifest]) put(`blobs/${digestOf(blob).replace(":", "/")}`, blob);
  const manifests = [part("application/vnd.oci.image.manifest.v1+json", manifest)];
  put("index.json", JSON.stringify({ manifests }));
  return digestOf(manifest);
}

describe("the image that comes with the node", () => {
  let folder: string;
  let socket: string;
  let server: Server;
  const blobs = new Map<string, string>();
  const images = new Map<string, Image>();
  const calls: string[] = [];
  let full = false;
  let onWrite: (() => void) | undefined;

  const imageServer: ImagesServer = {
    get: ({ request, metadata }, answer) => {
      assert.deepEqual(metadata.get("containerd-namespace"), ["k8s.io"]);
      const image = images.get(request.name);
      if (image === undefined) answer({ code: status.NOT_FOUND, details: "not found" });
      else answer(null, { image });
    },
    create: ({ request: { image } }, answer) => {
      calls.push("create");
      if (image !== undefined) images.set(image.name, image);
      answer(null, { image });
    },
    update: ({ request: { image } }, answer) => {
      calls.push("update");
      if (image !== undefined) images.set(image.name, image);
      answer(null, { image });
    },
  };
  const contentServer: ContentServer = {
    write: (call) => {
      call.on("data", ({ expected, data, total, labels }) => {
        if (onWrite !== undefined) onWrite();
        else if (full) call.emit("error", refusal(status.RESOURCE_EXHAUSTED, "no space left on device"));
        else if (blobs.has(expected))
          call.emit("error", refusal(status.ALREADY_EXISTS, "content already exists"));
        else {
          assert.ok("containerd.io/gc.root" in labels, "the collector would take it");
          assert.equal(digestOf(data.toString()), expected);
          assert.equal(total, BigInt(data.length));
          calls.push("write");
          blobs.set(expected, data.toString());
          call.write({ digest: expected });
        }
      });
      call.on("end", () => call.end());
    },
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sealet-image-"));
    socket = join(folder, "containerd.sock");
    server = new Server();
    server.addService(ImagesService, imageServer);
    server.addService(ContentService, contentServer);
    await new Promise((resolve) => {
      server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), resolve);
    });
    for (const map of [blobs, images]) map.clear();
    calls.length = 0;
    full = false;
    onWrite = undefined;
  });
  afterEach(() => {
    server.forceShutdown();
    rmSync(folder, { recursive: true });
  });

  it("is stored with all its parts, the image last; once", async () => {
    const digest = layOut(folder, "layer");
    await seedImage(NAME, folder, socket, NEVER);
    assert.deepEqual(calls, ["write", "write", "write", "create"]);
    assert.equal(images.get(NAME)?.target?.digest, digest);
    await seedImage(NAME, folder, socket, NEVER);
    assert.equal(calls.length, 4);
  });

  it("gives way to that of a newer node image; parts that are there stay", async () => {
    layOut(folder, "layer");
    await seedImage(NAME, folder, socket, NEVER);
    const newer = layOut(folder, "another layer");
    calls.length = 0;
    await seedImage(NAME, folder, socket, NEVER);
    assert.deepEqual(calls, ["write", "write", "update"], "its configuration is the same");
    assert.equal(images.get(NAME)?.target?.digest, newer);
  });

  it("is not there when a part of it is refused", async () => {
    layOut(folder, "layer");
    full = true;
    await assert.rejects(seedImage(NAME, folder, socket, NEVER), {
      code: "SERVICE_FAILED",
      message: `containerd does not take the image ${NAME}: no space left on device`,
    });
    assert.deepEqual(calls, []);
  });

  it("is given up at once when the agent is asked to stop, before or while containerd is silent", async () => {
    layOut(folder, "layer");
    const stop = new AbortController();
    onWrite = () => stop.abort();
    await assert.rejects(seedImage(NAME, folder, socket, stop.signal), { code: "CANCELLED" });
    await assert.rejects(seedImage(NAME, folder, socket, stop.signal), { code: "CANCELLED" });
    assert.deepEqual(calls, []);
  });

  it("needs containerd", async () => {
    layOut(folder, "layer");
    await assert.rejects(seedImage(NAME, folder, join(folder, "nobody.sock"), NEVER), {
      code: "SERVICE_FAILED",
    });
  });
});
