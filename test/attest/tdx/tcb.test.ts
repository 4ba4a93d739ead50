import assert from "node:assert/strict";
import * as fc from "fast-check";
import { parseTcbInfo, type EnclaveLevel, type TcbInfo } from "../../../agent/attest/tdx/documents.ts";
import { converge, rateTcb, TCB_STATUS, type TcbStatus } from "../../../agent/attest/tdx/tcb.ts";
import { defaultTcbInfo } from "../../twin/intel-ca.ts";

type Platform =
  | "UpToDate"
  | "SWHardeningNeeded"
  | "ConfigurationNeeded"
  | "ConfigurationAndSWHardeningNeeded"
  | "OutOfDate"
  | "OutOfDateConfigurationNeeded"
  | "Revoked";
type Module = "UpToDate" | "OutOfDate" | "Revoked";

const svns = (...first: number[]): number[] => Array.from({ length: 16 }, (_, i) => first[i] ?? 0);
const LATEST = { components: svns(9, 9, 9), pceSvn: 9 };
const EARLIEST = { components: svns(5, 5, 5), pceSvn: 5 };
const NEW = Uint8Array.from(svns(9, 1, 9));
const OLD = Uint8Array.from(svns(5, 1, 5));

const level = (svn: number, tcbStatus: string, date: string, advisory: string) => ({
  tcb: {
    sgxtcbcomponents: svns(svn, svn, svn).map((value) => ({ svn: value })),
    pcesvn: svn,
    tdxtcbcomponents: svns(svn, 0, svn).map((value) => ({ svn: value })),
  },
  tcbDate: date,
  tcbStatus,
  advisoryIDs: [advisory],
});

const moduleLevel = (isvsvn: number, tcbStatus: string, date: string) => ({
  tcb: { isvsvn },
  tcbDate: date,
  tcbStatus,
});

/** Two levels and a module of two levels, each with the status named. */
function tcbInfo(latest: Platform, earliest: Platform, module: Module, moduleEarliest: Module): TcbInfo {
  const base = defaultTcbInfo();
  const [identity] = base.tdxModuleIdentities;
  const document = {
    ...base,
    tdxModuleIdentities: [
      {
        ...identity,
        id: "TDX_01",
        tcbLevels: [
          moduleLevel(9, module, "2024-01-01T00:00:00Z"),
          moduleLevel(5, moduleEarliest, "2022-01-01T00:00:00Z"),
        ],
      },
    ],
    tcbLevels: [
      level(9, latest, "2024-02-02T00:00:00Z", "A-1"),
      level(5, earliest, "2023-01-01T00:00:00Z", "A-2"),
    ],
  };
  return parseTcbInfo(new TextEncoder().encode(JSON.stringify(document)));
}

const qe = (status: Module | "none"): EnclaveLevel | undefined =>
  status === "none"
    ? undefined
    : { isvSvn: 1, tcbDate: Date.parse("2025-01-01"), status, advisories: ["A-3"] };

interface Row {
  readonly levels: readonly [Platform, Platform];
  readonly module: readonly [Module, Module];
  readonly platform: typeof LATEST;
  readonly launch: Uint8Array;
  readonly now?: Uint8Array;
  readonly qe?: Module | "none";
  readonly status: TcbStatus;
}
const usual: readonly [Module, Module] = ["UpToDate", "OutOfDate"];
const old: readonly [Module, Module] = ["OutOfDate", "OutOfDate"];

// the outcomes that Intel's library has in its own tests (TcbLevelCheck, TDRelaunchCheck), and the gaps between them
const rows: readonly Row[] = [
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    now: NEW,
    status: "UpToDate",
  },
  {
    levels: ["UpToDate", "Revoked"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    now: NEW,
    status: "UpToDate",
  },
  { levels: ["Revoked", "OutOfDate"], module: usual, platform: LATEST, launch: NEW, status: "Revoked" },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: ["Revoked", "OutOfDate"],
    platform: LATEST,
    launch: NEW,
    status: "Revoked",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    qe: "Revoked",
    status: "Revoked",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: EARLIEST,
    launch: OLD,
    now: OLD,
    status: "OutOfDate",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: EARLIEST,
    launch: NEW,
    now: NEW,
    status: "OutOfDate",
  },
  {
    levels: ["Revoked", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: NEW,
    status: "OutOfDate",
  },
  { levels: ["OutOfDate", "OutOfDate"], module: usual, platform: LATEST, launch: NEW, status: "OutOfDate" },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    qe: "OutOfDate",
    status: "OutOfDate",
  },
  {
    levels: ["SWHardeningNeeded", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    status: "SWHardeningNeeded",
  },
  {
    levels: ["UpToDate", "SWHardeningNeeded"],
    module: usual,
    platform: EARLIEST,
    launch: NEW,
    now: NEW,
    status: "SWHardeningNeeded",
  },
  {
    levels: ["ConfigurationAndSWHardeningNeeded", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    status: "ConfigurationAndSWHardeningNeeded",
  },
  {
    levels: ["ConfigurationNeeded", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    status: "ConfigurationNeeded",
  },
  {
    levels: ["ConfigurationNeeded", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    qe: "OutOfDate",
    status: "OutOfDateConfigurationNeeded",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: NEW,
    status: "TDRelaunchAdvised",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: OLD,
    status: "OutOfDate",
  },
  { levels: ["UpToDate", "OutOfDate"], module: old, platform: LATEST, launch: OLD, status: "OutOfDate" },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: EARLIEST,
    launch: OLD,
    now: NEW,
    status: "OutOfDate",
  },
  {
    levels: ["UpToDate", "OutOfDateConfigurationNeeded"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: NEW,
    status: "TDRelaunchAdvisedConfigurationNeeded",
  },
  {
    levels: ["ConfigurationNeeded", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: NEW,
    status: "TDRelaunchAdvisedConfigurationNeeded",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: NEW,
    qe: "OutOfDate",
    status: "OutOfDate",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: NEW,
    qe: "Revoked",
    status: "Revoked",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: Uint8Array.from(svns(9, 4, 9)),
    status: "NotSupported",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: old,
    platform: LATEST,
    launch: OLD,
    now: Uint8Array.from(svns(9, 0, 9)),
    status: "TDRelaunchAdvised",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: NEW,
    qe: "none",
    status: "NotSupported",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: Uint8Array.from(svns(4, 1, 9)),
    status: "NotSupported",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: Uint8Array.from(svns(9, 2, 9)),
    status: "NotSupported",
  },
  // module 1.0: its version is components 0 and 1 of the platform's
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: Uint8Array.from(svns(9, 0, 9)),
    status: "UpToDate",
  },
  {
    levels: ["UpToDate", "OutOfDate"],
    module: usual,
    platform: LATEST,
    launch: Uint8Array.from(svns(8, 0, 9)),
    status: "OutOfDate",
  },
];

const rank = (status: TcbStatus): number => TCB_STATUS.indexOf(status);

describe("TDX TCB rating", () => {
  for (const [i, row] of rows.entries())
    it(`${i + 1}: ${row.levels.join("/")}, module ${row.module.join("/")}, QE ${row.qe ?? "UpToDate"}: ${row.status}`, () => {
      const rating = rateTcb(tcbInfo(...row.levels, ...row.module), {
        platform: row.platform,
        teeTcbSvn: row.launch,
        teeTcbSvn2: row.now,
        qeLevel: qe(row.qe ?? "UpToDate"),
      });
      assert.equal(rating.status, row.status);
    });

  it("the oldest date counts, and the advisories of all matched levels", () => {
    const info = tcbInfo("UpToDate", "OutOfDate", "UpToDate", "OutOfDate");
    const platform = EARLIEST;
    const rating = rateTcb(info, {
      platform,
      teeTcbSvn: OLD,
      teeTcbSvn2: undefined,
      qeLevel: qe("UpToDate"),
    });
    assert.equal(rating.tcbDate, Date.parse("2022-01-01"));
    assert.deepEqual(rating.advisories, ["A-2", "A-3"]);
    const none = rateTcb(info, {
      platform: { ...EARLIEST, pceSvn: 1 },
      teeTcbSvn: OLD,
      teeTcbSvn2: undefined,
      qeLevel: qe("UpToDate"),
    });
    assert.equal(none.tcbDate, undefined);
    assert.equal(none.status, "NotSupported");
  });

  it("one component below a level keeps the platform off it, whichever it is", () => {
    const info = tcbInfo("UpToDate", "OutOfDate", "UpToDate", "UpToDate");
    for (let i = 0; i < 3; i++) {
      const components = LATEST.components.map((svn, at) => (at === i ? svn - 1 : svn));
      const platform = { components, pceSvn: 9 };
      const rating = rateTcb(info, {
        platform,
        teeTcbSvn: NEW,
        teeTcbSvn2: undefined,
        qeLevel: qe("UpToDate"),
      });
      assert.equal(rating.status, "OutOfDate");
    }
  });

  it("converging never makes a status better", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...TCB_STATUS),
        fc.constantFrom("UpToDate", "OutOfDate", "Revoked", "NotSupported"),
        (status, component) => {
          const together = converge(status, component);
          assert.ok(rank(together) >= rank(status) || together === "Revoked");
          if (component === "Revoked") assert.equal(together, "Revoked");
          if (component === "OutOfDate") assert.ok(rank(together) >= rank("OutOfDate"));
        },
      ),
    );
  });

  it("raising any SVN never rates a platform worse", () => {
    const info = parseTcbInfo(new TextEncoder().encode(JSON.stringify(defaultTcbInfo())));
    const arbitrary = fc.tuple(
      fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 15 }),
      fc.integer({ min: 0, max: 15 }),
    );
    const rankOf = (components: number[], pceSvn: number): number => {
      const rating = rateTcb(info, {
        platform: { components, pceSvn },
        teeTcbSvn: NEW,
        teeTcbSvn2: undefined,
        qeLevel: qe("UpToDate"),
      });
      return rank(rating.status);
    };
    fc.assert(
      fc.property(arbitrary, ([components, pceSvn, raised]) => {
        const higher = components.map((svn, i) => (i === raised ? svn + 1 : svn));
        assert.ok(rankOf(higher, pceSvn) <= rankOf(components, pceSvn));
      }),
    );
  });
});
