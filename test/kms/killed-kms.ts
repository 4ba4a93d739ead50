/**
 * A KMS as a process of its own that kills itself (SIGKILL) at a chosen step: a line with a number on standard input
 * says at which from then on. A step is the moment before or after a call of the store; after the last one nothing is
 * left but the answer. Prints its address, and "armed" for each line. `killed-kms.ts DIRECTORY`
 */
import { createInterface } from "node:readline";
import { attestVerifier } from "../../agent/kms/attest-verifier.ts";
import { startKms } from "../../agent/kms/server.ts";
import { SqliteStore } from "../../agent/kms/sqlite.ts";
import type { Store } from "../../agent/kms/store.ts";
import { twinCa } from "./cluster.ts";

const [directory = ""] = process.argv.slice(2);
let left = 0;

function step(): void {
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
}

async function stepped<T>(run: () => Promise<T>): Promise<T> {
  step();
  const result = await run();
  step();
  return result;
}

function killing(store: Store): Store {
  return {
    readNode: (name) => stepped(() => store.readNode(name)),
    readHeldBy: (holder) => stepped(() => store.readHeldBy(holder)),
    listNodes: () => store.listNodes(),
    readPolicy: () => stepped(() => store.readPolicy()),
    listAudit: (after, limit) => store.listAudit(after, limit),
    auditHead: () => store.auditHead(),
    decide: (name, decide) => stepped(() => store.decide(name, decide)),
    replacePolicy: (policy, audit) => store.replacePolicy(policy, audit),
    readCollateralTimes: () => store.readCollateralTimes(),
    putCollateralTimes: (times, audit) => store.putCollateralTimes(times, audit),
    audit: (draft) => stepped(() => store.audit(draft)),
    close: () => store.close(),
  };
}

const kms = await startKms(directory, {
  verifier: attestVerifier,
  readCollateral: () => ({ snp: { Genoa: twinCa.collateral() } }),
  report: (request, error) => console.error(request, error),
  listen: "127.0.0.1:0",
  openStore: (path, now) => killing(new SqliteStore(path, now)),
});
console.log(kms.address);
for await (const line of createInterface({ input: process.stdin })) {
  left = Number(line);
  console.log("armed");
}
