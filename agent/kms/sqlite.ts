/**
 * The store in one SQLite file. Write-ahead log with synchronous=FULL: a commit is on the disk when it returns.
 * Decisions that wait at the same time share one transaction, and so one fsync; each still sees what the one before it
 * wrote. The file is locked: one KMS at a time.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { SealetError } from "../error.ts";
import { type AuditDraft, type AuditEntry, type ChainHead, GENESIS, chainHash } from "./audit.ts";
import { type NodeRecord, parseRecord } from "./record.ts";
import type { Outcome, State, Store, StoredPolicy } from "./store.ts";

/** More would make the first of a batch wait for the last. */
const MAX_BATCH = 128;

/** A page of the audit log has to fit a gRPC message. */
const MAX_PAGE_BYTES = 1024 * 1024;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS node (
    name TEXT PRIMARY KEY, holder TEXT, expires INTEGER, pod_network INTEGER NOT NULL, record TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS node_holder ON node (holder) WHERE holder IS NOT NULL;
  CREATE TABLE IF NOT EXISTS policy (version INTEGER PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS collateral (part TEXT PRIMARY KEY, issued INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS audit (
    sequence INTEGER PRIMARY KEY, time INTEGER NOT NULL, action TEXT NOT NULL, node TEXT NOT NULL,
    code TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL
  ) STRICT;
  PRAGMA user_version = 1;
`;

interface Job {
  /** Within the transaction; returns what to do once it is durable. */
  readonly run: () => () => void;
  readonly reject: (error: unknown) => void;
}

type Row = Readonly<Record<string, unknown>>;

export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #now: () => number;
  readonly #sql: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>;
  #head: ChainHead;
  #queue: Job[] = [];
  #scheduled = false;

  /** @throws STORE_FAILED: not readable, not a store, or another KMS has it open */
  constructor(path: string, now: () => number) {
    this.#now = now;
    try {
      this.#db = new DatabaseSync(path, { timeout: 0 });
      this.#db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
      this.#db.exec(`BEGIN EXCLUSIVE; ${SCHEMA} COMMIT;`);
      this.#sql = prepareAll(this.#db);
      this.#head = this.#readHead();
    } catch (cause) {
      const locked = cause instanceof Error && cause.message.includes("locked");
      const why = locked ? "another KMS has it open" : "it cannot be opened";
      throw new SealetError("STORE_FAILED", `The KMS's database ${path}: ${why}`, { cause });
    }
  }

  readNode(name: string): Promise<NodeRecord | undefined> {
    return this.#read(() => this.#record(this.#sql.node.get(name)));
  }

  readHeldBy(holder: string): Promise<NodeRecord | undefined> {
    return this.#read(() => this.#record(this.#sql.heldBy.get(holder)));
  }

  listNodes(): Promise<NodeRecord[]> {
    return this.#read(() => this.#sql.nodes.all().map((row) => parseRecord(text(row, "record"))));
  }

  readPolicy(): Promise<StoredPolicy | undefined> {
    return this.#read(() => {
      const row = this.#sql.policy.get();
      return row && { version: integer(row, "version"), envelope: bytes(row, "envelope") };
    });
  }

  listAudit(after: bigint, limit: number): Promise<AuditEntry[]> {
    return this.#read(() => {
      const page: AuditEntry[] = [];
      let room = MAX_PAGE_BYTES;
      for (const row of this.#sql.auditAfter.iterate(after, limit)) {
        const entry = auditEntry(row);
        room -= Buffer.byteLength(entry.detail);
        if (room < 0 && page.length > 0) break;
        page.push(entry);
      }
      return page;
    });
  }

  auditHead(): Promise<ChainHead> {
    return Promise.resolve(this.#head);
  }

  decide<T>(name: string, decide: (state: State) => Outcome<T>): Promise<T> {
    return this.#enqueue((resolve, reject) => {
      let outcome: Outcome<T>;
      try {
        outcome = decide({
          record: this.#record(this.#sql.node.get(name)),
          policyVersion: this.#policyVersion(),
          freePodNetwork: () => Number(integer(this.#sql.freePodNetwork.get(), "free")),
        });
      } catch (thrown) {
        // Refused, or a damaged record: nothing was written yet, and the others of this batch go on.
        return () => reject(thrown);
      }
      this.#append(outcome.audit);
      if (outcome.record === "remove") this.#sql.removeNode.run(name);
      else if (outcome.record !== undefined) this.#put(outcome.record);
      return () => resolve(outcome.value);
    });
  }

  replacePolicy(policy: StoredPolicy, audit: AuditDraft): Promise<boolean> {
    return this.#enqueue((resolve) => {
      if (policy.version <= this.#policyVersion()) return () => resolve(false);
      this.#sql.putPolicy.run(policy.version, policy.envelope);
      this.#append(audit);
      return () => resolve(true);
    });
  }

  readCollateralTimes(): Promise<ReadonlyMap<string, number>> {
    return this.#read(
      () =>
        new Map(this.#sql.collateral.all().map((row) => [text(row, "part"), Number(integer(row, "issued"))])),
    );
  }

  putCollateralTimes(times: ReadonlyMap<string, number>, audit: AuditDraft): Promise<void> {
    return this.#enqueue((resolve) => {
      for (const [part, issued] of times) this.#sql.putCollateral.run(part, issued);
      this.#append(audit);
      return () => resolve();
    });
  }

  audit(draft: AuditDraft): Promise<void> {
    return this.#enqueue((resolve) => {
      this.#append(draft);
      return () => resolve();
    });
  }

  close(): Promise<void> {
    this.#flush();
    this.#db.close();
    return Promise.resolve();
  }

  #policyVersion(): bigint {
    const row = this.#sql.policyVersion.get();
    return row === undefined ? 0n : integer(row, "version");
  }

  #record(row: Row | undefined): NodeRecord | undefined {
    return row && parseRecord(text(row, "record"));
  }

  #put(record: NodeRecord): void {
    const { name, lease, podNetwork } = record;
    const held = lease === null ? [null, null] : [lease.holder, lease.expires];
    const json = JSON.stringify(record);
    parseRecord(json); // What could not be read again is not written.
    this.#sql.putNode.run(name, ...held, podNetwork, json);
  }

  #append(draft: AuditDraft): void {
    const entry = {
      sequence: this.#head.sequence + 1n,
      timeUnixMs: BigInt(this.#now()),
      action: draft.action,
      node: draft.node,
      code: draft.code,
      detail: JSON.stringify(draft.detail),
    };
    const hash = chainHash(this.#head.hash, entry);
    try {
      const { sequence, timeUnixMs, action, node, code, detail } = entry;
      this.#sql.putAudit.run(sequence, timeUnixMs, action, node, code, detail, hash);
    } catch (cause) {
      throw new SealetError("AUDIT_FAILED", "The audit log cannot be written", { cause });
    }
    this.#head = { sequence: entry.sequence, hash };
  }

  #readHead(): ChainHead {
    const row = this.#sql.auditHead.get();
    return row === undefined
      ? { sequence: 0n, hash: GENESIS }
      : { sequence: integer(row, "sequence"), hash: bytes(row, "hash") };
  }

  #read<T>(read: () => T): Promise<T> {
    try {
      return Promise.resolve(read());
    } catch (cause) {
      return Promise.reject(storeFailed(cause));
    }
  }

  #enqueue<T>(
    run: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ run: () => run(resolve, reject), reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  /** One transaction for what waits. A failure of the database fails all of it: nobody is answered. */
  #flush(): void {
    this.#scheduled = false;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_BATCH);
      const settled: (() => void)[] = [];
      try {
        this.#db.exec("BEGIN IMMEDIATE");
        for (const { run } of batch) settled.push(run());
        this.#commit();
      } catch (cause) {
        this.#rollBack();
        for (const { reject } of batch) reject(storeFailed(cause));
        continue;
      }
      for (const settle of settled) settle();
    }
  }

  #commit(): void {
    try {
      this.#db.exec("COMMIT");
    } catch (cause) {
      throw new SealetError("AUDIT_FAILED", "The audit log cannot be made durable", { cause });
    }
  }

  #rollBack(): void {
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      this.#head = this.#readHead();
    } catch {
      // The database is gone altogether; the next decision fails at its BEGIN and says so.
    }
  }
}

const STATEMENTS = {
  node: "SELECT record FROM node WHERE name = ?",
  heldBy: "SELECT record FROM node WHERE holder = ? ORDER BY expires DESC LIMIT 1",
  nodes: "SELECT record FROM node ORDER BY name",
  putNode: "INSERT OR REPLACE INTO node (name, holder, expires, pod_network, record) VALUES (?, ?, ?, ?, ?)",
  removeNode: "DELETE FROM node WHERE name = ?",
  freePodNetwork: `SELECT min(n) AS free FROM (SELECT 0 AS n UNION SELECT pod_network + 1 FROM node)
    WHERE n NOT IN (SELECT pod_network FROM node)`,
  policy: "SELECT version, envelope FROM policy ORDER BY version DESC LIMIT 1",
  policyVersion: "SELECT version FROM policy ORDER BY version DESC LIMIT 1",
  putPolicy: "INSERT INTO policy (version, envelope) VALUES (?, ?)",
  collateral: "SELECT part, issued FROM collateral",
  putCollateral: "INSERT OR REPLACE INTO collateral (part, issued) VALUES (?, ?)",
  auditAfter: "SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?",
  auditHead: "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1",
  putAudit:
    "INSERT INTO audit (sequence, time, action, node, code, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
} as const;

function prepareAll(db: DatabaseSync): Record<keyof typeof STATEMENTS, StatementSync> {
  const prepare = (name: keyof typeof STATEMENTS) => {
    const statement = db.prepare(STATEMENTS[name]);
    statement.setReadBigInts(true);
    return statement;
  };
  return {
    node: prepare("node"),
    heldBy: prepare("heldBy"),
    nodes: prepare("nodes"),
    putNode: prepare("putNode"),
    removeNode: prepare("removeNode"),
    freePodNetwork: prepare("freePodNetwork"),
    policy: prepare("policy"),
    policyVersion: prepare("policyVersion"),
    putPolicy: prepare("putPolicy"),
    collateral: prepare("collateral"),
    putCollateral: prepare("putCollateral"),
    auditAfter: prepare("auditAfter"),
    auditHead: prepare("auditHead"),
    putAudit: prepare("putAudit"),
  };
}

function storeFailed(cause: unknown): SealetError {
  if (cause instanceof SealetError) return cause;
  return new SealetError("STORE_FAILED", "The KMS's database failed", { cause });
}

function auditEntry(row: Row): AuditEntry {
  return {
    sequence: integer(row, "sequence"),
    timeUnixMs: integer(row, "time"),
    action: text(row, "action"),
    node: text(row, "node"),
    code: text(row, "code"),
    detail: text(row, "detail"),
    hash: bytes(row, "hash"),
  };
}

function column(row: Row | undefined, name: string): never {
  throw new SealetError("STORE_FAILED", `The database's column ${name} holds ${typeof row?.[name]}`);
}

function text(row: Row | undefined, name: string): string {
  const value = row?.[name];
  return typeof value === "string" ? value : column(row, name);
}

function integer(row: Row | undefined, name: string): bigint {
  const value = row?.[name];
  return typeof value === "bigint" ? value : column(row, name);
}

function bytes(row: Row | undefined, name: string): Buffer {
  const value = row?.[name];
  return value instanceof Uint8Array ? Buffer.from(value) : column(row, name);
}
