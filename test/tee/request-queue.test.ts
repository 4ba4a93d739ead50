import assert from "node:assert/strict";
import { RequestQueue, type Clock } from "../../agent/tee/request-queue.ts";

const { signal } = new AbortController();

/** Time passes only by sleeping. */
class HandClock implements Clock {
  time = 0;
  now(): number {
    return this.time;
  }
  sleep(milliseconds: number): Promise<void> {
    this.time += milliseconds;
    return Promise.resolve();
  }
}

describe("the queue before a TEE's device", () => {
  it("runs one request at a time, in order, whether they fail or not", async () => {
    const queue = new RequestQueue(0);
    const events: string[] = [];
    const request = (name: string, fail: boolean) => async () => {
      events.push(`${name} begins`);
      await new Promise((done) => setTimeout(done, 5));
      events.push(`${name} ends`);
      if (fail) throw new Error(name);
      return name;
    };
    const results = await Promise.allSettled([
      queue.run(request("a", false), signal),
      queue.run(request("b", true), signal),
      queue.run(request("c", false), signal),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(events, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  });

  it("keeps the distance after each request, the failed ones too, and none before the first", async () => {
    const clock = new HandClock();
    const queue = new RequestQueue(1000, clock);
    const begins: number[] = [];
    const request = (fail: boolean) => () => {
      begins.push(clock.time);
      clock.time += 10;
      return fail ? Promise.reject(new Error("failed")) : Promise.resolve();
    };
    await queue.run(request(false), signal);
    await assert.rejects(queue.run(request(true), signal));
    await queue.run(request(false), signal);
    clock.time += 5000;
    await queue.run(request(false), signal);
    assert.deepEqual(begins, [0, 1010, 2020, 7030]);
  });

  it("does not begin a request whose caller has given up", async () => {
    const queue = new RequestQueue(0);
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = queue.run(() => promise, signal);
    const giveUp = new AbortController();
    let begun = false;
    const second = queue.run(() => {
      begun = true;
      return Promise.resolve();
    }, giveUp.signal);
    giveUp.abort();
    await assert.rejects(second, { code: "CANCELLED" });
    await assert.rejects(
      queue.run(() => Promise.resolve(), giveUp.signal),
      { code: "CANCELLED" },
    );
    resolve();
    await first;
    await queue.run(() => Promise.resolve(), signal);
    assert.equal(begun, false);
  });

  it("does not begin a request whose caller gives up while it keeps the distance", async () => {
    const giveUp = new AbortController();
    class Impatient extends HandClock {
      override sleep(milliseconds: number): Promise<void> {
        giveUp.abort();
        return super.sleep(milliseconds);
      }
    }
    const queue = new RequestQueue(1000, new Impatient());
    await queue.run(() => Promise.resolve(), signal);
    let begun = false;
    const late = queue.run(() => Promise.resolve((begun = true)), giveUp.signal);
    await assert.rejects(late, { code: "CANCELLED" });
    await queue.run(() => Promise.resolve(), signal);
    assert.equal(begun, false);
  });

  it("does not let the next request begin while an abandoned one is with the platform", async () => {
    const queue = new RequestQueue(0);
    const { promise, resolve } = Promise.withResolvers<void>();
    const giveUp = new AbortController();
    const abandoned = queue.run(() => promise, giveUp.signal);
    await Promise.resolve();
    giveUp.abort();
    await assert.rejects(abandoned, { code: "CANCELLED" });
    let begun = false;
    const next = queue.run(() => {
      begun = true;
      return Promise.resolve();
    }, signal);
    await new Promise((done) => setTimeout(done, 10));
    assert.equal(begun, false);
    resolve();
    await next;
  });

  it("an abandoned request that fails later disturbs nobody", async () => {
    const queue = new RequestQueue(0);
    const { promise, reject } = Promise.withResolvers<void>();
    const giveUp = new AbortController();
    const abandoned = queue.run(() => promise, giveUp.signal);
    await Promise.resolve();
    giveUp.abort();
    await assert.rejects(abandoned, { code: "CANCELLED" });
    reject(new Error("late"));
    assert.equal(await queue.run(() => Promise.resolve("fine"), signal), "fine");
  });

  it("turns requests away where too many wait", async () => {
    const queue = new RequestQueue(0);
    const { promise, resolve } = Promise.withResolvers<void>();
    const accepted = Array.from({ length: 32 }, () => queue.run(() => promise, signal));
    await assert.rejects(
      queue.run(() => promise, signal),
      { code: "EVIDENCE_THROTTLED" },
    );
    resolve();
    await Promise.all(accepted);
    await queue.run(() => Promise.resolve(), signal);
  });
});
