/** `sealet audit`: every release and refusal of the KMS, and whether the log is whole. */
import { type Command, InvalidArgumentError } from "commander";
import type { AuditEntry } from "../api/gen/sealet.ts";
import { SealetError } from "../error.ts";
import type { ChainHead } from "../kms/audit.ts";
import { type SocketOption, socketOption } from "./kms-options.ts";
import { type Output, type Style, fields, printable, table } from "./output.ts";

const PAGE = 1000;

interface ListOptions extends SocketOption {
  readonly after?: bigint;
  readonly limit?: number;
  readonly node?: string;
}

export function registerAudit(program: Command, output: Output): void {
  const audit = program.command("audit").description("the KMS's audit log");
  audit
    .command("list")
    .description("entries, the oldest first")
    .option("--after <sequence>", "only entries after this one", sequence)
    .option("--limit <count>", "at most so many", (text) => Number(sequence(text)))
    .option("--node <name>", "only this node's")
    .addOption(socketOption())
    .action(async ({ socket, after = 0n, limit = Infinity, node }: ListOptions) => {
      const entries: AuditEntry[] = [];
      for await (const page of pages(socket, after)) {
        entries.push(...page.filter((entry) => node === undefined || entry.node === node));
        if (entries.length >= limit) break;
      }
      const shown = entries.slice(0, limit);
      output.result(shown.map(plain), (style) => listing(shown, style));
    });
  audit
    .command("verify")
    .description("follow the hash chain from the first entry to the last")
    .option("--expect <hash>", "a hash noted earlier that has to be one of the chain's")
    .addOption(socketOption())
    .action(async ({ socket, expect }: { socket: string; expect?: string }) => {
      const head = await verify(socket, expect);
      const result = { entries: head.sequence, head: head.hash, whole: true };
      output.result(result, (style) =>
        fields(
          [
            ["entries", String(head.sequence)],
            ["head", head.hash.toString("hex")],
            ["chain", style.green("whole")],
          ],
          style,
        ),
      );
    });
}

/** @throws AUDIT_BROKEN, which names the first entry that does not fit */
async function verify(socket: string, expect: string | undefined): Promise<ChainHead> {
  const { GENESIS, followChain } = await import("../kms/audit.ts");
  let head: ChainHead = { sequence: 0n, hash: GENESIS };
  let seen = expect === undefined;
  for await (const page of pages(socket, 0n)) {
    const next = followChain(head, page);
    if ("broken" in next)
      throw new SealetError("AUDIT_BROKEN", "The audit log was changed: its hash chain is broken", {
        predicate: "audit.chain",
        expected: `entry ${next.broken} after entry ${head.sequence}`,
        found: "another, or one that does not fit",
      });
    head = next;
    seen ||= page.some(({ hash }) => hash.toString("hex") === expect);
  }
  if (seen) return head;
  throw new SealetError("AUDIT_BROKEN", "The audit log does not hold the hash that was noted: it was cut", {
    predicate: "audit.head",
    expected: expect ?? "",
    found: `a chain that ends with ${head.hash.toString("hex")}`,
  });
}

async function* pages(socket: string, after: bigint): AsyncGenerator<AuditEntry[]> {
  const { METHOD, withOperator } = await import("./operator-client.ts");
  for (let from = after; ;) {
    const request = { afterSequence: from, limit: PAGE };
    const { entries } = await withOperator(socket, (ask) => ask(METHOD.listAudit, request));
    const last = entries.at(-1);
    if (last === undefined) return;
    yield entries;
    from = last.sequence;
  }
}

function plain(entry: AuditEntry): Record<string, unknown> {
  const { timeUnixMs, detail, ...rest } = entry;
  return { ...rest, time: time(timeUnixMs), detail: JSON.parse(detail) as unknown };
}

function listing(entries: readonly AuditEntry[], style: Style): string {
  const rows = entries.map(({ sequence: number, timeUnixMs, action, node, code, detail }) => [
    String(number),
    time(timeUnixMs),
    action,
    node === "" ? "-" : printable(node),
    code === "OK" ? style.green(code) : style.red(code),
    printable(headline(detail)),
  ]);
  return table(["#", "TIME", "ACTION", "NODE", "CODE", "WHAT"], rows, style);
}

/** The refusal's words, else what the entry is about. */
function headline(detail: string): string {
  const value: unknown = JSON.parse(detail);
  if (typeof value !== "object" || value === null) return "";
  const text = ["message", "request", "policyVersion", "uuid", "peer"]
    .filter((name) => name in value)
    .map((name) => [name, Reflect.get(value, name) as unknown] as const);
  const [first] = text;
  if (first === undefined) return "";
  return first[0] === "message"
    ? String(first[1])
    : text.map(([name, item]) => `${name} ${String(item)}`).join(", ");
}

function sequence(text: string): bigint {
  if (!/^[0-9]{1,18}$/.test(text)) throw new InvalidArgumentError("not a number");
  return BigInt(text);
}

const time = (unixMs: bigint) => new Date(Number(unixMs)).toISOString();
