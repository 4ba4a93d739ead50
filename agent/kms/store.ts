/**
 * What the KMS needs of a database, narrow enough for SQLite and for etcd. The heart is a decision: read the state,
 * decide purely, write the change and its audit entry in one atomic step that is durable when the promise resolves. So
 * nothing is ever answered that is not in the audit log (invariant I7), two requests never both win (I6), and a crash
 * finds either all of a decision or nothing of it (I10).
 */
import type { AuditDraft, AuditEntry, ChainHead } from "./audit.ts";
import type { NodeRecord } from "./record.ts";

export interface StoredPolicy {
  readonly version: bigint;
  /** The DSSE envelope as the operator applied it. */
  readonly envelope: Buffer;
}

export interface State {
  readonly record: NodeRecord | undefined;
  /** Of the policy in force; 0 where there is none. */
  readonly policyVersion: bigint;
  /** The lowest number of a pod network that no node has. */
  freePodNetwork(): number;
}

export interface Outcome<T> {
  readonly value: T;
  readonly audit: AuditDraft;
  /** Absent: unchanged. */
  readonly record?: NodeRecord | "remove";
}

export interface Store {
  readNode(name: string): Promise<NodeRecord | undefined>;
  /** The node whose lease this key holds, live or not. */
  readHeldBy(holder: string): Promise<NodeRecord | undefined>;
  listNodes(): Promise<NodeRecord[]>;
  readPolicy(): Promise<StoredPolicy | undefined>;
  /** In order; fewer than `limit` where their detail would be over 1 MiB, but never none while there are more. */
  listAudit(after: bigint, limit: number): Promise<AuditEntry[]>;
  auditHead(): Promise<ChainHead>;

  /**
   * @param decide pure; what it throws refuses, and nothing is written (the refusal's own entry is the caller's).
   *   An etcd store may call it again.
   * @returns the outcome's value, once it is durable
   * @throws what `decide` throws; AUDIT_FAILED or STORE_FAILED, with nothing written
   */
  decide<T>(name: string, decide: (state: State) => Outcome<T>): Promise<T>;
  /** Puts a policy in force, if it is newer. @returns whether it is in force now */
  replacePolicy(policy: StoredPolicy, audit: AuditDraft): Promise<boolean>;
  /** When the newest collateral that was ever in force was issued, ms since 1970, by part. */
  readCollateralTimes(): Promise<ReadonlyMap<string, number>>;
  putCollateralTimes(times: ReadonlyMap<string, number>, audit: AuditDraft): Promise<void>;
  /** An entry by itself: a refusal that no record has a part in. @throws AUDIT_FAILED */
  audit(draft: AuditDraft): Promise<void>;
  close(): Promise<void>;
}
