/** Genuine TDX quotes of `test/vectors` with genuine collateral, at a time when it is current, and what must come out. */
import type { GENUINE } from "./genuine.ts";

const OUT = ["tdx.tcb.status"];
const OUT_BOTH = ["tdx.tcb.status", "tdx.tcb.current-status"];

// status as platform / module / converged; what the lenient policy refuses all the same
export type TdxRow = readonly [
  file: string,
  collateral: keyof typeof GENUINE,
  at: string,
  status: string,
  refused: readonly string[],
];
export const TDX_ROWS: readonly TdxRow[] = [
  ["dcap-qvl/near/quote.bin", "near", "2025-09-15", "UpToDate/UpToDate/UpToDate", []],
  ["dcap-qvl/sample/tdx_quote", "b0c0", "2025-07-01", "UpToDate/UpToDate/UpToDate", []],
  ["dcap-qvl/sample/quote-from-tappd.bin", "b0c0", "2025-07-01", "NotSupported/UpToDate/NotSupported", OUT],
  ["dcap-qvl/sample/tdx-quote.bin", "b0c0", "2025-07-01", "NotSupported/UpToDate/NotSupported", OUT],
  [
    "dcap-qvl/sample/tdx_quote_outdated",
    "outdated",
    "2026-03-01",
    "NotSupported/UpToDate/NotSupported",
    OUT_BOTH,
  ],
  [
    "dcap-qvl/sample/tdx_quote_outdated",
    "googleV5",
    "2026-03-01",
    "NotSupported/UpToDate/NotSupported",
    OUT_BOTH,
  ],
  [
    "go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat",
    "june2025",
    "2025-06-25",
    "UpToDate/UpToDate/UpToDate",
    [],
  ],
  [
    "go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat",
    "july2025",
    "2025-07-20",
    "UpToDate/UpToDate/UpToDate",
    [],
  ],
  [
    "go-tdx-guest/testdata/ccel/cos-113-tdx-quote.dat",
    "october2025",
    "2025-10-25",
    "UpToDate/UpToDate/UpToDate",
    [],
  ],
  ["go-tdx-guest/testdata/quote_v5_sample.dat", "outdated", "2026-03-01", "UpToDate/UpToDate/UpToDate", []],
  ["go-tdx-guest/testdata/quote_v5_sample.dat", "googleV5", "2026-03-01", "UpToDate/UpToDate/UpToDate", []],
  [
    "go-tdx-guest/testdata/tdx_prod_quote_SPR_E4.dat",
    "june2023",
    "2023-06-20",
    "NotSupported/UpToDate/NotSupported",
    ["tdx.quote.trailing", "tdx.tcb.status"],
  ],
  [
    "trustee/tdx/tdx_quote_4.dat",
    "june2023",
    "2023-06-20",
    "UpToDate/UpToDate/UpToDate",
    ["tdx.td.debug", "tdx.td.xfam"],
  ],
  [
    "x-automata-dcap/quotes/alibaba_quote_5.dat",
    "outdated",
    "2026-03-01",
    "OutOfDate/OutOfDate/OutOfDate",
    ["tdx.td.xfam", "tdx.td.service-td"],
  ],
  [
    "x-automata-dcap/samples/quotev5.dat",
    "googleV5",
    "2026-03-01",
    "OutOfDate/OutOfDate/OutOfDate",
    ["tdx.td.xfam", "tdx.td.service-td"],
  ],
  [
    "x-automata-dcap/quotes/tdx_quote_5.dat",
    "outdated",
    "2026-03-01",
    "NotSupported/OutOfDate/NotSupported",
    ["tdx.td.xfam", "tdx.td.service-td", ...OUT_BOTH],
  ],
  ["x-automata-dcap/samples/quotev4.bin", "june2025", "2025-06-25", "OutOfDate/UpToDate/OutOfDate", []],
  ["x-automata-dcap/samples/quotev4.bin", "october2025", "2025-10-25", "OutOfDate/UpToDate/OutOfDate", []],
  ["x-automata-dcap/solana/quote_tdx.bin", "july2025", "2025-07-20", "OutOfDate/UpToDate/OutOfDate", []],
];
