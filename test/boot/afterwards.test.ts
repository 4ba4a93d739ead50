/** What a serving node does beside: it is repeated where it fails, and does not pile up. */
import assert from "node:assert/strict";
import { mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Serving, afterwards } from "../../agent/boot/afterwards.ts";
import { Journal } from "../../agent/boot/journal.ts";
import { VirtualClock } from "./virtual-clock.ts";

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await turn();
};
const hour = (): Promise<void> => {
  mock.timers.tick(3_600_000);
  return settle();
};

describe("afterwards", () => {
  let renewals: (() => boolean | Promise<boolean>)[];
  let renewed: number;
  let journal: Journal;
  const stop = new AbortController();
  const serve = (onRenewed: () => void = () => undefined): void => {
    const machine: Serving["machine"] = {
      initialiseDisk: () => Promise.resolve(),
      renewCertificates: async () => (renewals.shift() ?? (() => assert.fail("asked too often")))(),
      kubernetes: {
        tell: () => Promise.resolve(),
        start: () => Promise.resolve(""),
        stop: () => Promise.resolve(),
      },
    };
    afterwards({
      facts: {},
      machine,
      journal,
      signal: stop.signal,
      onRenewed: () => (renewed++, onRenewed()),
    });
  };
  const notes = () => journal.after(0).filter(({ message }) => message === "Certificates renewed").length;
  beforeEach(() => {
    mock.timers.enable({ apis: ["setInterval"] });
    [renewals, renewed, journal] = [[], 0, new Journal(new VirtualClock())];
  });
  afterEach(() => mock.timers.reset());
  after(() => stop.abort());

  it("looks at the certificates each hour, and tells of new ones", async () => {
    renewals = [() => false, () => true];
    serve();
    await hour();
    assert.equal(notes(), 0);
    await hour();
    assert.equal(notes(), 1);
    assert.equal(renewed, 1);
  });

  it("has one renewal at a time, however long it takes", async () => {
    const slow = Promise.withResolvers<boolean>();
    renewals = [() => slow.promise, () => true];
    serve();
    for (let i = 0; i < 3; i++) await hour();
    assert.equal(renewals.length, 1);
    slow.resolve(true);
    await hour();
    await hour();
    assert.equal(notes(), 2);
  });

  it("repeats what failed: the renewal, and what is told of it", async () => {
    renewals = [() => Promise.reject(new Error("no room")), () => true, () => false];
    let fails = 1;
    serve(() => {
      if (fails-- > 0) throw new Error("not read");
    });
    await hour();
    while (renewals.length > 0) await turn();
    await settle();
    assert.equal(renewed, 2);
    assert.equal(notes(), 1);
  });
});
