/** The words of the boot sequence: phases in their order, what one is, and what can come of it. */
import type { SealetError } from "../error.ts";
import type { RetryClass } from "./retry.ts";

export const PHASES = [
  "configure",
  "detect",
  "measure",
  "attest",
  "unseal",
  "mount",
  "enrol",
  "network",
  "kubelet",
  "serve",
] as const;

export type PhaseName = (typeof PHASES)[number];

/** One run of a phase. */
export interface Attempt {
  /** From 1 on. */
  readonly number: number;
  /** Aborted at the phase's timeout and when the agent stops. */
  readonly signal: AbortSignal;
  /** For people, while it runs: what is being done. */
  note(message: string): void;
}

export type Outcome = { readonly done: string } | { readonly skipped: string };

export interface Phase {
  readonly name: PhaseName;
  /** Milliseconds of one attempt. */
  readonly timeout: number;
  /** The most patient class that its failures may have. */
  readonly retry: RetryClass;
  /** Phases that must have ended in "done", however the table is changed. */
  readonly needs: readonly PhaseName[];
  /** Idempotent: the agent may be killed within it, and the next one runs it again. */
  run(attempt: Attempt): Promise<Outcome>;
}

export type PhaseState =
  | { readonly state: "pending" }
  | { readonly state: "running"; readonly since: number; readonly attempts: number }
  | {
      readonly state: "retrying";
      readonly since: number;
      readonly attempts: number;
      readonly error: SealetError;
    }
  | {
      readonly state: "done" | "skipped";
      readonly durationMs: number;
      readonly attempts: number;
      readonly detail: string;
    }
  | {
      readonly state: "failed";
      readonly durationMs: number;
      readonly attempts: number;
      readonly error: SealetError;
    };

/** How the sequence ended. */
export type BootResult =
  | { readonly end: "complete" }
  /** `--until`: as far as was asked for, and no further. */
  | { readonly end: "until"; readonly phase: PhaseName }
  | { readonly end: "failed"; readonly phase: PhaseName; readonly error: SealetError }
  | { readonly end: "cancelled"; readonly phase: PhaseName };
