/**
 * Answers each line of JSON on standard input: whether @phala/dcap-qvl accepts that quote with that collateral, and with
 * which status; or with Bench how often it does so a second. A peer to differ from, and to be measured against.
 */
import { createInterface } from "node:readline";
import qvl from "@phala/dcap-qvl";

function answer({ At, Quote, Root, Collateral, Bench }) {
  const verifier = qvl.QuoteVerifier.newWithRootCa(Buffer.from(Root, "base64"));
  const quote = Buffer.from(Quote, "base64");
  const { status } = verifier.verify(quote, Collateral, At);
  if (Bench === undefined) return `accepted ${status}`;
  const from = performance.now();
  let times = 0;
  while (performance.now() - from < 1000 * Bench.Seconds) {
    verifier.verify(quote, Collateral, At);
    times++;
  }
  return `rate ${(1000 * times) / (performance.now() - from)}`;
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = answer(JSON.parse(line));
  } catch (error) {
    const cause = error.cause === undefined ? "" : `: ${error.cause.message}`;
    said = `refused ${JSON.stringify(`${error.message}${cause}`)}`;
  }
  process.stdout.write(`${said}\n`);
}
