import assert from "node:assert/strict";
import { closeSync, openSync, readSync } from "node:fs";
import { ioctl } from "../../native/ioctl.ts";
import { addressOf, errnoName, errnoOf, libc, must } from "../../native/libc.ts";

const close = libc("int close(int fd)");
const usleep = libc("int usleep(unsigned int microseconds)");
const access = libc("int access(const char *path, int mode)");

// include/uapi/asm-generic/ioctls.h
const FIONREAD = 0x541b;
const TCGETS = 0x5401;

describe("libc", () => {
  it("tells value and errno of a call", () => {
    assert.deepEqual(close(-1), { value: -1, errno: errnoOf("EBADF") });
    assert.deepEqual(access("/", 0), { value: 0, errno: 0 });
    assert.equal(errnoName(access("/nonexistent", 0).errno), "ENOENT");
  });

  it("`must` wraps a failure with what it was", () => {
    assert.throws(() => must("close", close(-1)), { code: "NATIVE_FAILED", message: "close failed: EBADF" });
    assert.equal(must("access", access("/", 0)), 0);
  });

  it("gives each of many concurrent calls the errno of its own thread", async () => {
    const paths = { "/": 0, "/nonexistent": errnoOf("ENOENT"), "/etc/passwd/x": errnoOf("ENOTDIR") };
    const calls = Object.entries(paths).flatMap(([path, errno]) =>
      Array.from({ length: 60 }, async () => {
        const outcome = await access.async(path, 0);
        close(-1); // spoils this thread's errno for whoever reads it too late
        assert.equal(outcome.errno, errno, path);
        assert.equal(outcome.value, errno === 0 ? 0 : -1);
      }),
    );
    await Promise.all(calls);
  });

  it("keeps the errno while synchronous calls fail in between", async () => {
    const slow = Array.from({ length: 8 }, async () => {
      await usleep.async(2000);
      return access.async("/nonexistent", 0);
    });
    for (let index = 0; index < 1000; index++) close(-1);
    for (const { errno } of await Promise.all(slow)) assert.equal(errnoName(errno), "ENOENT");
  });

  it("does not block the event loop", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    await usleep.async(200_000);
    clearInterval(timer);
    assert.ok(turns >= 10, `${turns} turns in 200 ms`);
  });

  it("says where a Buffer is", () => {
    const buffer = Buffer.from("abc");
    assert.equal(addressOf(buffer.subarray(1)) - addressOf(buffer), 1n);
  });
});

describe("ioctl", () => {
  it("writes to the caller's memory", async () => {
    const fd = openSync(import.meta.filename, "r");
    const answer = Buffer.alloc(4);
    assert.deepEqual(await ioctl(fd, FIONREAD, answer), { value: 0, errno: 0 });
    assert.ok(answer.readUInt32LE() > 100);
    assert.equal(readSync(fd, Buffer.alloc(10)), 10);
    closeSync(fd);
  });

  it("tells ENOTTY from EBADF, concurrently", async () => {
    const fd = openSync("/dev/null", "r");
    const outcomes = await Promise.all(
      Array.from({ length: 64 }, async (_, index) =>
        ioctl(index % 2 === 0 ? fd : -1, TCGETS, Buffer.alloc(64)),
      ),
    );
    closeSync(fd);
    for (const [index, { errno }] of outcomes.entries())
      assert.equal(errnoName(errno), index % 2 === 0 ? "ENOTTY" : "EBADF");
  });

  it("holds its memory while the collector runs", async () => {
    const collect = globalThis.gc;
    const fd = openSync(import.meta.filename, "r");
    const pending = Array.from({ length: 100 }, async () => {
      const answer = Buffer.alloc(1 << 16);
      await ioctl(fd, FIONREAD, answer);
      return answer.readUInt32LE();
    });
    if (collect !== undefined) await collect({ execution: "async" });
    for (const length of await Promise.all(pending)) assert.ok(length > 100);
    closeSync(fd);
  });
});
