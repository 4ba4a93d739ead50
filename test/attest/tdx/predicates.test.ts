import assert from "node:assert/strict";
import { TDX_DEMANDED } from "../../../agent/attest/tdx/predicates.ts";
import { BODY, HEADER, QE_REPORT } from "../../../agent/attest/tdx/quote.ts";
import type { TdxInput } from "../../../agent/attest/tdx/verify.ts";
import { failures } from "../../../agent/attest/verdict.ts";
import type { QuoteOptions } from "../../twin/intel-ca.ts";
import { COLLATERAL_CASES } from "./cases-collateral.ts";
import { QUOTE_CASES } from "./cases-quote.ts";
import { appraise, bytesOf, ca, twinPolicy } from "./twin.ts";

describe("TDX: what the twin makes by default is accepted", () => {
  const good: readonly (readonly [what: string, options: QuoteOptions, input?: Partial<TdxInput>])[] = [
    ["version 4", {}],
    ["version 4, with zeros after it", { trailing: bytesOf(0, 3000) }],
    ["version 5, body type 2", { version: 5, bodyType: 2 }],
    ["version 5, body type 3", { version: 5, bodyType: 3 }],
    ["version 5, body type 4", { version: 5, bodyType: 4 }],
    ["Processor CA", { pck: ca.pck({ kind: "processor" }) }],
    ["without authentication data", { authData: new Uint8Array(0) }],
    [
      "a module that was updated under the TD",
      { version: 5, bodyType: 3, td: { teeTcbSvn2: Uint8Array.from([9, 1, 3, ...bytesOf(0, 13)]) } },
    ],
    [
      "service TD and devices that are allowed",
      {
        version: 5,
        bodyType: 4,
        td: { mrServiceTd: bytesOf(1), curServiceTdHash: bytesOf(2), devInfo: bytesOf(3) },
      },
      {
        policy: twinPolicy({
          serviceTd: { anyOf: ["01".repeat(48), "02".repeat(48)] },
          devices: { anyOf: ["03".repeat(48)] },
        }),
      },
    ],
  ];
  for (const [what, options, input] of good)
    it(what, async () => {
      const verdict = await appraise(ca.quote(options), input);
      assert.deepEqual(failures(verdict), []);
      assert.deepEqual(verdict.notEvaluated, []);
      assert.equal(verdict.accepted, true);
    });
});

describe("TDX: each predicate that fails is named, alone", () => {
  for (const [code, what, { quote = {}, input = () => ({}), also = [] }] of [
    ...QUOTE_CASES,
    ...COLLATERAL_CASES,
  ])
    it(`${code}: ${what}`, async () => {
      const bytes = typeof quote === "function" ? quote() : ca.quote(quote);
      if (code === "tdx.quote.reserved") bytes[8] = 1;
      const verdict = await appraise(bytes, input());
      const failed = failures(verdict).filter(
        (failure) => code !== "tdx.quote.reserved" || failure !== "tdx.quote.signature",
      );
      assert.deepEqual(failed.toSorted(), [code, ...also].toSorted());
      assert.equal(verdict.accepted, false);
      const found = verdict.predicates.find((predicate) => predicate.code === code);
      assert.ok(found && found.expected !== "" && found.found !== "" && found.expected !== found.found);
    });

  it("every predicate has such a test", () => {
    const tested = new Set([...QUOTE_CASES, ...COLLATERAL_CASES].map(([code]) => code));
    assert.deepEqual(
      TDX_DEMANDED.filter((code) => !tested.has(code)),
      [],
    );
  });

  it("reserved fields of the QE report count too", async () => {
    const { offset } = { offset: QE_REPORT.rows.find(([name]) => name === "reserved4")?.[1] ?? 0 };
    const quote = ca.quote();
    quote[HEADER.size + BODY[2].size + 4 + 128 + 6 + offset] = 1;
    assert.deepEqual(failures(await appraise(quote)), ["tdx.quote.reserved", "tdx.qe.signature"]);
  });
});
