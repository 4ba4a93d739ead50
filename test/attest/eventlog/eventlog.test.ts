import assert from "node:assert/strict";
import * as fc from "fast-check";
import { toBase64 } from "../../../agent/attest/base64.ts";
import { hex, utf8 } from "../../../agent/attest/bytes.ts";
import { parseCcelTable } from "../../../agent/attest/eventlog/ccel.ts";
import { DIGEST, eventName, parseEventLog, type EventLog } from "../../../agent/attest/eventlog/log.ts";
import { describesItself, firstContradiction, replay } from "../../../agent/attest/eventlog/replay.ts";
import { attempt } from "../../../agent/attest/malformed.ts";
import { parseQuote } from "../../../agent/attest/tdx/quote.ts";
import { nodeCrypto } from "../../../agent/crypto/node.ts";
import { eventLog, extended } from "../tdx/ccel.ts";
import { vector } from "../tdx/genuine.ts";

const crypto = nodeCrypto();

/** Number of events, and which event says something that was not measured. */
const genuine: readonly (readonly [file: string, events: number, contradiction?: string])[] = [
  ["go-tpm-tools/eventlogs/arch-linux-workstation.bin", 24],
  ["go-tpm-tools/eventlogs/confidential-gke-debug-251000_eventlog.bin", 54],
  ["go-tpm-tools/eventlogs/cos-101-amd-sev.bin", 48],
  // shim of that time measured another encoding of its certificates than it logged
  ["go-tpm-tools/eventlogs/cos-85-amd-sev.bin", 45, "EV_EFI_VARIABLE_AUTHORITY"],
  ["go-tpm-tools/eventlogs/cos-93-amd-sev.bin", 45, "EV_EFI_VARIABLE_AUTHORITY"],
  ["go-tpm-tools/eventlogs/eventlogwithsp800155.bin", 53],
  ["go-tpm-tools/eventlogs/gdc-host.bin", 158],
  ["go-tpm-tools/eventlogs/glinux-alex.bin", 28],
  ["go-tpm-tools/eventlogs/rhel8-uefi.bin", 82],
  ["go-tpm-tools/eventlogs/ubuntu-1804-amd-sev.bin", 87],
  ["go-tpm-tools/eventlogs/ubuntu-2104-no-dbx.bin", 111],
  ["go-tpm-tools/eventlogs/ubuntu-2104-no-secure-boot.bin", 105],
  ["go-tpm-tools/eventlogs/ubuntu-2404-amd-sevsnp.bin", 116],
  ["trustee/eventlog/CCEL_AAEL_alibabacloud", 87],
  ["trustee/eventlog/CCEL_data", 5],
  ["trustee/eventlog/CCEL_data_gcp", 21],
  ["trustee/eventlog/CCEL_data_grub", 37],
  ["trustee/eventlog/CCEL_data_grub_gke", 35],
  ["trustee/eventlog/CCEL_data_ovmf", 20],
  ["trustee/eventlog/CCEL_data_csv", 82],
  ["trustee/tdx/CCEL_data", 5],
  ["trustee/tdx/CCEL_data_ovmf", 20],
  ["go-tdx-guest/testdata/ccel/ccel_data.dat", 43],
];

const bankOf = (log: EventLog): "sha256" | "sha384" =>
  log.algorithms.includes(DIGEST.sha384.id) ? "sha384" : "sha256";

describe("genuine event logs", () => {
  for (const [file, events, contradiction] of genuine)
    it(`${file}: ${events} events`, async () => {
      const log = parseEventLog(vector(file));
      assert.equal(log.events.length, events);
      const found = await firstContradiction(crypto, log, bankOf(log));
      assert.equal(found && eventName(found.type), contradiction);
    });

  it("the SHA-1-only log of Debian 10 is refused", () => {
    const result = attempt(() => parseEventLog(vector("go-tpm-tools/eventlogs/debian-10.bin")));
    assert.equal(!result.ok && result.refusal.code, "UNSUPPORTED");
  });

  it("a log without the bank that is asked for does not replay", async () => {
    const log = parseEventLog(vector("trustee/eventlog/CCEL_data_csv"));
    assert.equal(await replay(crypto, log, "sha384"), undefined);
  });

  it("COS 113's replays to RTMR0 to RTMR3 of its quote", async () => {
    const log = parseEventLog(vector("go-tdx-guest/testdata/ccel/ccel_data.dat"));
    const { fields } = parseQuote(vector("go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat")).td;
    const registers = await replay(crypto, log, "sha384");
    const found = [1, 2, 3, 4].map((index) => hex(registers?.get(index) ?? new Uint8Array(48)));
    assert.deepEqual(found, [fields.rtmr0, fields.rtmr1, fields.rtmr2, fields.rtmr3].map(hex));
  });

  it("PCR 0 begins with the locality that the machine was started from", async () => {
    const log = parseEventLog(vector("go-tpm-tools/eventlogs/gdc-host.bin"));
    assert.ok(
      log.events.some(({ data }) => Buffer.from(data).toString("latin1").startsWith("StartupLocality")),
    );
    const plain = { ...log, events: log.events.filter(({ type }) => type !== 3) };
    const [a, b] = await Promise.all([replay(crypto, log, "sha256"), replay(crypto, plain, "sha256")]);
    assert.notDeepEqual(a?.get(0), b?.get(0));
    assert.deepEqual(a?.get(7), b?.get(7));
  });

  for (const name of [
    "CCEL_AAEL_alibabacloud",
    "CCEL_data",
    "CCEL_data_grub",
    "CCEL_data_grub_gke",
    "CCEL_data_ovmf",
  ])
    it(`${name}: as another parser reads it`, async () => {
      const log = parseEventLog(vector(`trustee/eventlog/${name}`));
      const text = utf8(vector(`trustee/eventlog/${name}_out.json`), name);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file of this repository
      const golden = JSON.parse(text) as {
        uefi_event_logs: {
          index: number;
          type_name: string;
          event: string;
          digest_matches_event: boolean;
          digests: { digest: string }[];
        }[];
      };
      assert.equal(log.events.length, golden.uefi_event_logs.length);
      for (const [i, expected] of golden.uefi_event_logs.entries()) {
        const event = log.events[i];
        assert.ok(event);
        assert.equal(event.index, expected.index);
        assert.equal(eventName(event.type), expected.type_name);
        assert.equal(toBase64(event.data), expected.event);
        assert.deepEqual(
          [...event.digests.values()].map(hex),
          expected.digests.map(({ digest }) => digest),
        );
        const said = await describesItself(crypto, event, "sha384");
        if (said !== "undefined") assert.equal(said === "described", expected.digest_matches_event);
      }
    });

  it("the CCEL table tells where the log is", () => {
    const table = parseCcelTable(vector("go-tdx-guest/testdata/ccel/ccel_table.dat"));
    assert.deepEqual([table.ccType, table.logAreaSize], [2, 262144n]);
    const wrong = vector("go-tdx-guest/testdata/ccel/ccel_table.dat");
    wrong[40] = 1;
    assert.throws(() => parseCcelTable(wrong), { code: "UNEXPECTED" });
    assert.throws(() => parseCcelTable(wrong.subarray(1)), { code: "TRUNCATED" });
    const longer = vector("go-tdx-guest/testdata/ccel/ccel_table.dat");
    longer[4] = 57;
    assert.throws(() => parseCcelTable(longer), { code: "UNEXPECTED" });
    wrong[0] = 0x41;
    assert.throws(() => parseCcelTable(wrong), { code: "UNEXPECTED" });
  });
});

const digests = (log: EventLog): string =>
  log.events.flatMap(({ digests: all }) => [...all.values()].map(hex)).join();

const sizeOf = (id: number): number => (id === 12 ? 48 : 32);

/** A log of two algorithms, by their ids, and one event with digests of `used`. */
function twoAlgorithms(first: number, second: number, used: readonly number[] = []): Uint8Array {
  const spec = [
    ...Buffer.from("Spec ID Event03\0"),
    ...[0, 0, 0, 0, 0, 2, 0, 2],
    ...[2, 0, 0, 0, first, 0, sizeOf(first), 0, second, 0, sizeOf(second), 0, 0],
  ];
  const digestsOf = used.flatMap((id) => [id, 0, ...new Uint8Array(sizeOf(id))]);
  const event = used.length === 0 ? [] : [1, 0, 0, 0, 4, 0, 0, 0, used.length, 0, 0, 0, ...digestsOf];
  const header = [1, 0, 0, 0, 3, 0, 0, 0, ...new Uint8Array(20), spec.length, 0, 0, 0];
  return Uint8Array.from([...header, ...spec, ...event]);
}

function tooMany(log: Uint8Array): Uint8Array {
  const header = log.subarray(0, 32 + 33);
  const event = eventLog({ index: 1, type: 4, data: "" }).subarray(header.length, -64);
  return new Uint8Array(Buffer.concat([header, ...Array.from({ length: 16_385 }, () => event)]));
}

/** A log of one EV_NO_ACTION. */
const say = (index: number, data: string): EventLog => parseEventLog(eventLog({ index, type: 3, data }));

describe("event logs that are wrong", () => {
  const good = eventLog({ index: 1, type: 4, data: "\0\0\0\0" }, { index: 2, type: 0xd, data: "x" });
  const header = 32 + 33;
  const changed = (at: number, ...values: number[]): Uint8Array => {
    const copy = Uint8Array.from(good);
    copy.set(values, at);
    return copy;
  };

  it("the good one is read, and leads where it should", async () => {
    const log = parseEventLog(good);
    const registers = await replay(crypto, log, "sha384");
    const found = [1, 2].map((index) => hex(registers?.get(index) ?? new Uint8Array()));
    assert.deepEqual(found, [extended("\0\0\0\0"), extended("x")].map(hex));
    assert.equal(await firstContradiction(crypto, log, "sha384"), undefined);
  });

  it("an event of a type that is not known is called by its number", () => {
    assert.equal(eventName(0xa0000001), "0xa0000001");
  });

  it("a log that lost a digest of the bank leads nowhere", async () => {
    const log = parseEventLog(good);
    const [first, ...rest] = log.events;
    assert.ok(first);
    const bare = { ...first, digests: new Map<number, Uint8Array>() };
    assert.equal(await replay(crypto, { ...log, events: [bare, ...rest] }, "sha384"), undefined);
    assert.equal(await describesItself(crypto, bare, "sha384"), "undefined");
  });

  it("EV_NO_ACTION of another register, or that says something else, sets no locality", async () => {
    for (const log of [
      say(0, "StartupLocality\0"),
      say(1, "StartupLocality\0\x03"),
      say(0, "StartupLocalitY\0\x03"),
    ])
      assert.equal((await replay(crypto, log, "sha384"))?.size, 0);
    const set = await replay(crypto, say(0, "StartupLocality\0\x03"), "sha384");
    assert.equal(set?.get(0)?.at(-1), 3);
  });

  const bad: readonly (readonly [what: string, bytes: Uint8Array, code: string])[] = [
    ["empty", new Uint8Array(0), "TRUNCATED"],
    ["over the budget", new Uint8Array(5 * 1024 * 1024), "TOO_LARGE"],
    ["first event is none", changed(4, 4), "UNSUPPORTED"],
    ["first digest is not zero", changed(8, 1), "UNSUPPORTED"],
    ["signature", changed(32, 0x54), "UNSUPPORTED"],
    ["first event of register 2", changed(0, 2), "UNEXPECTED"],
    ["major version 1", changed(32 + 21, 1), "UNSUPPORTED"],
    ["no algorithm", changed(32 + 24, 0), "UNEXPECTED"],
    ["digest size that is not the algorithm's", changed(32 + 30, 47), "UNEXPECTED"],
    ["vendor info beyond the event", changed(32 + 32, 9), "TRUNCATED"],
    ["two digests", changed(header + 8, 2), "UNEXPECTED"],
    ["no digest", changed(header + 8, 0), "UNEXPECTED"],
    ["another algorithm", changed(header + 12, 11), "UNEXPECTED"],
    ["event's size", changed(header + 14 + 48, 0xff, 0xff), "TRUNCATED"],
    ["cut", good.slice(0, header + 20), "TRUNCATED"],
    ["an algorithm of the log twice", twoAlgorithms(12, 12), "DUPLICATE"],
    ["a digest of one algorithm twice, of the other none", twoAlgorithms(12, 11, [12, 12]), "DUPLICATE"],
    ["more events than are read", tooMany(good), "TOO_LARGE"],
    ["bytes after the padding", changed(good.length - 1, 1), "TRAILING"],
  ];
  for (const [what, bytes, code] of bad)
    it(`${what}: ${code}`, () => {
      assert.throws(() => parseEventLog(bytes), { name: "Malformed", code });
    });

  it("mutants are read or refused, nothing else, and never replay to the same registers with other digests", async () => {
    const want = await replay(crypto, parseEventLog(good), "sha384");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), {
          minLength: 1,
          maxLength: 3,
        }),
        async (edits) => {
          const mutant = Uint8Array.from(good);
          for (const [at, value] of edits) mutant[at] = value;
          const parsed = attempt(() => parseEventLog(mutant));
          if (!parsed.ok) return;
          const found = await replay(crypto, parsed.value, "sha384");
          const same = [1, 2].every(
            (i) => hex(found?.get(i) ?? new Uint8Array()) === hex(want?.get(i) ?? new Uint8Array()),
          );
          if (same) assert.equal(digests(parsed.value), digests(parseEventLog(good)));
        },
      ),
      { numRuns: 300 },
    );
  });
});
