/** Quotes that are wrong in one thing. */
import { TD_ATTRIBUTE } from "../../../agent/attest/tdx/attributes.ts";
import { newKey, type QuoteOptions } from "../../twin/intel-ca.ts";
import { eventLog, extended } from "./ccel.ts";
import { bytesOf, ca, changedPolicy, twinPolicy, ZERO, type Cases } from "./twin.ts";

const zero = { anyOf: [ZERO] };

function bits(...names: (keyof typeof TD_ATTRIBUTE)[]): bigint {
  return names.reduce((value, name) => value | (1n << TD_ATTRIBUTE[name]), 0n);
}

function patched(options: QuoteOptions, at: number, value: number): Uint8Array {
  const quote = ca.quote(options);
  quote[at] = value;
  return quote;
}

function added(options: QuoteOptions, at: number, delta: number): Uint8Array {
  const quote = ca.quote(options);
  const view = new DataView(quote.buffer);
  view.setUint16(at, view.getUint16(at, true) + delta, true);
  return quote;
}

export const QUOTE_CASES: Cases = [
  ["tdx.quote.format", "version 3", { quote: { header: { version: 3 } } }],
  ["tdx.quote.format", "version 6", { quote: { header: { version: 6 } } }],
  ["tdx.quote.format", "ECDSA P-384", { quote: { header: { attestationKeyType: 3 } } }],
  ["tdx.quote.format", "an SGX quote", { quote: { header: { teeType: 0 } } }],
  ["tdx.quote.format", "empty", { quote: () => new Uint8Array(0) }],
  ["tdx.quote.format", "over the size budget", { quote: { trailing: bytesOf(0, 40_000) } }],
  [
    "tdx.quote.format",
    "body size that is not the type's",
    { quote: () => patched({ version: 5, bodyType: 3 }, 50, 0x49) },
  ],
  ["tdx.quote.format", "body type 1", { quote: () => patched({ version: 5, bodyType: 3 }, 48, 1) }],
  ["tdx.quote.format", "body type 5", { quote: () => patched({ version: 5, bodyType: 3 }, 48, 5) }],
  ["tdx.quote.format", "signature size one too large", { quote: () => added({}, 632, 1) }],
  ["tdx.quote.format", "signature size one too small", { quote: () => added({}, 632, -1) }],
  ["tdx.quote.format", "certification data 5 in the place of 6", { quote: () => patched({}, 764, 5) }],
  ["tdx.quote.format", "certification data's size one too small", { quote: () => added({}, 766, -1) }],
  ["tdx.quote.format", "certification data's size one too large", { quote: () => added({}, 766, 1) }],
  ["tdx.quote.format", "authentication data reaches into the chain", { quote: () => added({}, 1218, 1) }],
  ["tdx.quote.format", "PCK chain's size one too small", { quote: () => added({}, 1254, -1) }],
  ["tdx.quote.format", "PCK chain as plain PPID (type 3)", { quote: () => patched({}, 1252, 3) }],
  ["tdx.quote.reserved", "header", { quote: { header: { reserved: 0 } }, also: [] }],
  ["tdx.quote.trailing", "a byte that is not zero", { quote: { trailing: Uint8Array.of(0, 0, 1) } }],
  ["tdx.quote.qe-vendor", "another vendor", { quote: { header: { qeVendorId: bytesOf(1, 16) } } }],
  ["tdx.quote.signature", "by another key", { quote: { signQuoteWith: newKey() } }],

  ["tdx.td.report-data", "another's", { quote: { td: { reportData: bytesOf(1, 64) } } }],
  ["tdx.td.debug", "DEBUG", { quote: { td: { tdAttributes: bits("DEBUG", "SEPT_VE_DISABLE") } } }],
  ["tdx.td.attributes", "a required one is clear", { quote: { td: { tdAttributes: 0n } } }],
  [
    "tdx.td.attributes",
    "one that is not allowed",
    { quote: { td: { tdAttributes: bits("SEPT_VE_DISABLE", "MIGRATABLE") } } },
  ],
  [
    "tdx.td.attributes",
    "reserved bit 1 (TUD)",
    { quote: { td: { tdAttributes: bits("SEPT_VE_DISABLE") | 2n } } },
  ],
  [
    "tdx.td.attributes",
    "reserved bit 40",
    { quote: { td: { tdAttributes: bits("SEPT_VE_DISABLE") | (1n << 40n) } } },
  ],
  ["tdx.td.xfam", "a feature that is not allowed", { quote: { td: { xfam: 0x4e7n } } }],
  ["tdx.td.xfam", "without SSE", { quote: { td: { xfam: 0xe5n } } }],
  [
    "tdx.td.service-td",
    "bound at creation",
    { quote: { version: 5, bodyType: 3, td: { mrServiceTd: bytesOf(1) } } },
  ],
  [
    "tdx.td.service-td",
    "bound today",
    { quote: { version: 5, bodyType: 4, td: { curServiceTdHash: bytesOf(1) } } },
  ],
  [
    "tdx.td.service-td",
    "bound where the TD was made",
    { quote: { version: 5, bodyType: 4, td: { initServiceTdHash: bytesOf(1) } } },
  ],
  [
    "tdx.td.service-td",
    "another than the one allowed",
    {
      quote: { version: 5, bodyType: 4, td: { mrServiceTd: bytesOf(1), curServiceTdHash: bytesOf(2) } },
      input: changedPolicy({ serviceTd: { anyOf: ["01".repeat(48)] } }),
    },
  ],
  [
    "tdx.td.service-td",
    "SERVTD_EXT although none is allowed",
    {
      quote: { td: { tdAttributes: bits("SEPT_VE_DISABLE", "SERVTD_EXT") } },
      input: changedPolicy({ attributes: { required: ["SEPT_VE_DISABLE"], allowed: ["SERVTD_EXT"] } }),
    },
  ],
  ["tdx.td.devices", "a device", { quote: { version: 5, bodyType: 4, td: { devInfo: bytesOf(1) } } }],
  ["tdx.td.mr-seam", "another module", { quote: { td: { mrSeam: bytesOf(1) } } }],
  ["tdx.td.mr-td", "another firmware", { quote: { td: { mrTd: bytesOf(1) } } }],
  ["tdx.td.mr-config-id", "other initdata", { quote: { td: { mrConfigId: bytesOf(1) } } }],
  [
    "tdx.td.mr-config-id",
    "initdata that nobody named",
    { input: () => ({ expect: { reportData: bytesOf(0, 64) } }) },
  ],
  [
    "tdx.td.mr-config-id",
    "none of those listed",
    { input: changedPolicy({ mrConfigId: { anyOf: ["01".repeat(48), "02".repeat(48)] } }) },
  ],
  ["tdx.td.mr-owner", "another owner", { quote: { td: { mrOwner: bytesOf(1) } } }],
  ["tdx.td.mr-owner-config", "another configuration", { quote: { td: { mrOwnerConfig: bytesOf(1) } } }],
  ["tdx.td.rtmr0", "another", { quote: { td: { rtmr0: bytesOf(1) } } }],
  ["tdx.td.rtmr1", "another", { quote: { td: { rtmr1: bytesOf(1) } } }],
  ["tdx.td.rtmr2", "another", { quote: { td: { rtmr2: bytesOf(1) } } }],
  ["tdx.td.rtmr3", "another", { quote: { td: { rtmr3: bytesOf(1) } } }],
  ["tdx.event-log.format", "missing", { input: changedPolicy({ eventLog: "replay" }) }],
  [
    "tdx.event-log.format",
    "junk",
    { input: () => ({ policy: twinPolicy({ eventLog: "replay" }), eventLog: bytesOf(7, 100) }) },
  ],
  [
    "tdx.event-log.replay",
    "one event more",
    {
      input: () => ({
        policy: twinPolicy({ eventLog: "replay" }),
        eventLog: eventLog({ index: 2, type: 0xd, data: "x" }),
      }),
    },
  ],
  [
    "tdx.event-log.replay",
    "an event of no RTMR",
    {
      input: () => ({
        policy: twinPolicy({ eventLog: "replay" }),
        eventLog: eventLog({ index: 7, type: 0xd, data: "x" }),
      }),
    },
  ],
  [
    "tdx.event-log.events",
    "a separator that says something else",
    {
      quote: { td: { rtmr0: extended("other") } },
      input: () => ({
        policy: twinPolicy({ eventLog: "replay", rtmr: [{ unchecked: "the log's" }, zero, zero, zero] }),
        eventLog: eventLog({ index: 1, type: 4, data: "\0\0\0\0", measured: "other" }),
      }),
    },
  ],
];
