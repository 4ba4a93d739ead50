/** Sockets and files in memory: what needs no privilege. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync, writeSync, ftruncateSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryFile, sealedMemoryFile } from "../../native/memfd.ts";
import { mount, unmount } from "../../native/mount.ts";
import { errnoName } from "../../native/libc.ts";
import { peerCredentials } from "../../native/peer-credentials.ts";

function connection(server: Server): Promise<Socket> {
  return new Promise((resolve) => server.once("connection", resolve));
}

describe("I4 a sealed file in memory", () => {
  it("is read by its path and can't be changed", () => {
    using file = sealedMemoryFile("header", Buffer.from("LUKS"));
    assert.equal(readFileSync(file.path, "utf8"), "LUKS");
    const denied = { code: "EPERM" };
    assert.throws(() => writeSync(file.fd, "X", 0), denied);
    assert.throws(() => {
      ftruncateSync(file.fd, 1);
    }, denied);
    assert.throws(() => {
      ftruncateSync(file.fd, 100);
    }, denied);
    assert.throws(
      () => {
        file.seal();
      },
      { code: "NATIVE_FAILED" },
    );
    const again = openSync(file.path, "r+");
    assert.throws(() => writeSync(again, "X", 0), denied);
    closeSync(again);
  });

  it("can be written until it is sealed, and is closed once", () => {
    const file = memoryFile("header", Buffer.alloc(3 << 20, 1));
    writeSync(file.fd, "X", 0);
    file.seal();
    assert.equal(readFileSync(file.path).length, 3 << 20);
    file[Symbol.dispose]();
    file[Symbol.dispose]();
    assert.throws(() => readFileSync(file.path), { code: "ENOENT" });
  });
});

describe("peer credentials", () => {
  it("are the kernel's word on a unix socket, at both ends", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sealet-"));
    const server = createServer().listen(join(folder, "socket"));
    await once(server, "listening");
    const client = connect(join(folder, "socket"));
    const accepted = await connection(server);
    const expected = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
    assert.deepEqual(peerCredentials(accepted), expected);
    assert.deepEqual(peerCredentials(client), expected);
    client.destroy();
    accepted.destroy();
    assert.throws(() => peerCredentials(accepted), { code: "NATIVE_FAILED" });
    server.close();
    rmSync(folder, { recursive: true });
  });

  it("do not exist on a TCP socket", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    const client = connect(address.port, "127.0.0.1");
    const accepted = await connection(server);
    assert.throws(() => peerCredentials(accepted), { code: "NATIVE_FAILED" });
    client.destroy();
    accepted.destroy();
    server.close();
  });
});

describe("mount", () => {
  it("hands the errno to its caller", async () => {
    const gone = { source: "none", target: "/nonexistent", type: "tmpfs", flags: [] };
    const { errno } = await mount(gone);
    assert.match(errnoName(errno), /^(?:ENOENT|EPERM)$/u);
    assert.match(errnoName((await unmount("/nonexistent")).errno), /^(?:ENOENT|EPERM)$/u);
  });
});
