/**
 * Writes to a KMS's database without end, and says how far it is: "found N" at the start, the entries that are there,
 * then "durable N" after each. `cut-store.ts DATABASE`
 */
import { type ChainHead, GENESIS, followChain } from "../../agent/kms/audit.ts";
import { SqliteStore } from "../../agent/kms/sqlite.ts";

const PAGE = 1000;

const [path = ""] = process.argv.slice(2);
const store = new SqliteStore(path, Date.now);
let head: ChainHead = { sequence: 0n, hash: GENESIS };
for (;;) {
  const entries = await store.listAudit(head.sequence, PAGE);
  if (entries.length === 0) break;
  const next = followChain(head, entries);
  if ("broken" in next) throw new Error(`entry ${next.broken} is broken`);
  head = next;
}
console.log(`found ${head.sequence}`);
for (let { sequence } = head; ;) {
  sequence += 1n;
  await store.audit({
    action: "renew",
    node: "worker-1",
    code: "OK",
    detail: { sequence: String(sequence) },
  });
  console.log(`durable ${sequence}`);
}
