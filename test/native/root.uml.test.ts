/** What only root may: mounts, locking all memory. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { errnoName, libc, must } from "../../native/libc.ts";
import { mount, unmount } from "../../native/mount.ts";
import { readAhead } from "../../native/read-ahead.ts";

// include/uapi/asm-generic/unistd.h
const CACHESTAT = 451;
const cachestat = libc(
  "long syscall(long number, unsigned int fd, void *range, void *pages, unsigned int flags)",
);

const target = "/tmp/mounted";

function mountedOptions(): string | undefined {
  const line = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return line.find((entry) => entry.split(" ")[1] === target)?.split(" ")[3];
}

describe("mount", () => {
  before(() => {
    mkdirSync(target);
    assert.equal(spawnSync("mkfs.ext4", ["-q", "-F", "/dev/ubdb"]).status, 0);
  });

  const ext4 = { source: "/dev/ubdb", target, type: "ext4", flags: ["NODEV", "NOSUID"] } as const;

  it("mounts a disk with its flags and options, and unmounts it", async () => {
    assert.deepEqual(await mount({ ...ext4, data: "errors=remount-ro,commit=7" }), { value: 0, errno: 0 });
    const options = mountedOptions()?.split(",") ?? [];
    for (const option of ["rw", "nosuid", "nodev", "errors=remount-ro", "commit=7"])
      assert.ok(options.includes(option), `${option} in ${options.join(",")}`);
    writeFileSync(`${target}/file`, "kept");
    assert.deepEqual(await unmount(target), { value: 0, errno: 0 });
    assert.equal(mountedOptions(), undefined);
  });

  it("says what is wrong: no file system, unknown type, no such device", async () => {
    assert.equal(errnoName((await mount({ ...ext4, source: "/dev/ubdc" })).errno), "EINVAL");
    assert.equal(errnoName((await mount({ ...ext4, type: "nofs" })).errno), "ENODEV");
    assert.equal(errnoName((await mount({ ...ext4, source: "/dev/none" })).errno), "ENOENT");
    assert.equal(mountedOptions(), undefined);
  });

  it("readahead brings a file of it into memory, and only hints where there is none", async () => {
    await mount(ext4);
    writeFileSync(`${target}/program`, Buffer.alloc(5 << 20, 1));
    await unmount(target);
    await mount(ext4);
    writeFileSync("/sys/block/ubdb/queue/read_ahead_kb", "1024"); // as in node images
    const cached = () => {
      const fd = openSync(`${target}/program`, "r");
      const pages = Buffer.alloc(40);
      must("cachestat", cachestat(CACHESTAT, fd, Buffer.alloc(16), pages, 0));
      closeSync(fd);
      return Number(pages.readBigUInt64LE());
    };
    assert.equal(cached(), 0);
    await readAhead(`${target}/program`);
    assert.equal(cached(), (5 << 20) / 4096);
    await readAhead(`${target}/none`);
    await unmount(target);
  });

  it("does not unmount what is in use, but detaches it", async () => {
    await mount(ext4);
    const fd = openSync(`${target}/file`, "r");
    assert.equal(errnoName((await unmount(target)).errno), "EBUSY");
    assert.notEqual(mountedOptions(), undefined);
    assert.deepEqual(await unmount(target, "DETACH"), { value: 0, errno: 0 });
    assert.equal(readFileSync(fd, "utf8"), "kept");
    closeSync(fd);
  });
});

describe("I9 a hardened process of root", () => {
  it("keeps all its memory out of swap", () => {
    const source = `
      import { readFileSync } from "node:fs";
      import { hardenProcess } from "${new URL("../../native/memory.ts", import.meta.url).href}";
      hardenProcess({ lockAll: true });
      console.log(/VmLck:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", source], {
      encoding: "utf8",
    });
    assert.ok(Number(stdout) > 1000, stdout + stderr);
  });
});
