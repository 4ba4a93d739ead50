import assert from "node:assert/strict";
import { Journal } from "../../agent/boot/journal.ts";
import { type KeeperOptions, LeaseKeeper } from "../../agent/boot/lease.ts";
import type { HeldLease } from "../../agent/boot/machine.ts";
import { SealetError } from "../../agent/error.ts";
import { VirtualClock } from "./virtual-clock.ts";

const LIFE = 300_000;
const unreachable = new SealetError("KMS_UNREACHABLE", "Nobody answers");
const answer = (id: string, remainingMs = LIFE) => Promise.resolve({ id, durationMs: LIFE, remainingMs });

describe("a lease's keeper", () => {
  let clock: VirtualClock;
  let journal: Journal;
  let seen: string[];
  let renew: KeeperOptions<HeldLease>["renew"];
  let keeper: LeaseKeeper<HeldLease>;
  const hold = (id: string) => keeper.hold({ id, durationMs: LIFE, heldUntil: clock.now + LIFE });

  beforeEach(() => {
    clock = new VirtualClock();
    journal = new Journal(clock);
    seen = [];
    renew = (id) => answer(id);
    keeper = new LeaseKeeper({
      clock,
      journal,
      renew: (id, signal) => {
        seen.push(`asks ${id}`);
        return renew(id, signal);
      },
      onRenewed: ({ id }) => seen.push(`renewed ${id}`),
      onLost: ({ code }) => seen.push(`lost ${code}`),
      random: () => 0.999,
    });
  });
  afterEach(() => keeper.stop());

  it("forgets the lease before the one that it holds", async () => {
    hold("a");
    hold("b");
    await clock.pass(LIFE);
    assert.ok(seen.includes("renewed b"));
    assert.ok(!seen.includes("asks a"));
  });

  it("I6 counts on what remains of a renewed lease, and not on its whole life", async () => {
    hold("a");
    renew = (id) => {
      renew = () => Promise.reject(unreachable);
      return answer(id, 10_000);
    };
    await clock.until(() => seen.includes("renewed a"));
    const since = clock.now;
    await clock.until(() => seen.includes("lost LEASE_LOST"));
    assert.equal(clock.now - since, 10_000);
  });

  it("asks the more often the nearer the end is: a KMS that comes back just before is not missed", async () => {
    const end = clock.now + LIFE;
    renew = (id) => (clock.now > end - 5000 ? answer(id) : Promise.reject(unreachable));
    hold("a");
    await clock.until(() => seen.some((line) => /^(?:renewed|lost)/.test(line)));
    assert.equal(seen.at(-1), "renewed a");
  });

  it("acts on a loss before it tells of it", async () => {
    journal.subscribe(({ kind }) => seen.push(`told ${kind}`));
    renew = () => Promise.reject(new SealetError("EVIDENCE_REFUSED", "The policy changed"));
    hold("a");
    await clock.until(() => seen.includes("told failed"));
    assert.deepEqual(seen, ["asks a", "lost EVIDENCE_REFUSED", "told failed"]);
  });
});
