/**
 * What is done with a state disk: every state that a disk can be found in, against every thing that the KMS can know
 * of it. Pure and without Node built-ins: node and KMS decide by the same table, each on its own side.
 * INVARIANT (I3): "format" stands only where the disk is proven blank, or where this very first format was cut.
 */
import type { Code } from "../error.ts";

export const DISK_STATES = [
  "blank", // proven: see blank.ts
  "interrupted", // a first format that was cut: an intent record, no sealed one
  "sealed", // ours: record and header agree as far as that can be told without a key
  "foreign", // somebody else's data
  "damaged", // ours once; cannot be read any more
  "tampered", // ours, and well-formed, but not what sealet wrote
  "missing",
] as const;
export type DiskState = (typeof DISK_STATES)[number];

export const RELATIONS = [
  "expects-blank", // a new node
  "formatting-this", // a first format was allowed, and not yet committed; this disk (or a blank one) is its disk
  "formatting-another",
  "knows-this",
  "knows-another", // the node has a disk, and it is not this one, or this one says nothing of itself
] as const;
export type Relation = (typeof RELATIONS)[number];

export type Decision =
  | { readonly action: "open" }
  | { readonly action: "format" }
  | { readonly action: "refuse"; readonly code: Code };

const open: Decision = { action: "open" };
const format: Decision = { action: "format" };
const refuse = (code: Code): Decision => ({ action: "refuse", code });
const always = (code: Code): Record<Relation, Decision> => ({
  "expects-blank": refuse(code),
  "formatting-this": refuse(code),
  "formatting-another": refuse(code),
  "knows-this": refuse(code),
  "knows-another": refuse(code),
});

const DECISIONS: Readonly<Record<DiskState, Readonly<Record<Relation, Decision>>>> = {
  blank: {
    "expects-blank": format,
    "formatting-this": format, // power went before the intent was on the disk
    "formatting-another": refuse("DISK_UNEXPECTED"),
    "knows-this": refuse("DISK_BLANKED"),
    "knows-another": refuse("DISK_BLANKED"),
  },
  interrupted: {
    "expects-blank": refuse("DISK_UNEXPECTED"),
    "formatting-this": format,
    "formatting-another": refuse("DISK_UNEXPECTED"),
    "knows-this": refuse("DISK_ROLLED_BACK"), // it was sealed since: this is a copy from before
    "knows-another": refuse("DISK_UNEXPECTED"),
  },
  sealed: {
    "expects-blank": refuse("DISK_UNEXPECTED"),
    "formatting-this": open, // power went between the sealed record and the commit
    "formatting-another": refuse("DISK_UNEXPECTED"),
    "knows-this": open,
    "knows-another": refuse("DISK_UNEXPECTED"),
  },
  foreign: always("DISK_FOREIGN"),
  damaged: always("DISK_DAMAGED"),
  tampered: always("HEADER_TAMPERED"),
  missing: always("DISK_MISSING"),
};

export function decide(state: DiskState, relation: Relation): Decision {
  return DECISIONS[state][relation];
}

/** The states in which no record of any KMS could make a difference: the node need not ask. */
export function isHopeless(state: DiskState): boolean {
  return RELATIONS.every((relation) => decide(state, relation).action === "refuse");
}

export function isDiskState(text: string): text is DiskState {
  return DISK_STATES.some((state) => state === text);
}

/** The KMS's record of a node's disk; the uuid is empty where it expects a blank one. */
export interface DiskRecord {
  readonly state: "expects-blank" | "formatting" | "sealed";
  readonly uuid: string;
}

/** @param uuid as the disk gives it; empty where it gives none */
export function relate(record: DiskRecord, uuid: string): Relation {
  switch (record.state) {
    case "expects-blank":
      return "expects-blank";
    case "formatting":
      return uuid === "" || uuid === record.uuid ? "formatting-this" : "formatting-another";
    case "sealed":
      return uuid === record.uuid ? "knows-this" : "knows-another";
    default:
      return record.state satisfies never;
  }
}
