/** The node's state in the words of the API. */
import type { Facts } from "../boot/sequence.ts";
import type { Clock } from "../boot/clock.ts";
import type { NodeState } from "../boot/node.ts";
import type { PhaseName, PhaseState } from "../boot/phase.ts";
import { REMEDY } from "../error.ts";
import { VERSION } from "../version.ts";
import type { Disk, Failure, Host, Lease, Phase, Status } from "./gen/sealet.ts";

export interface Viewed {
  readonly state: NodeState;
  readonly phases: ReadonlyMap<PhaseName, PhaseState>;
  readonly facts: Facts;
}

export function statusOf(node: Viewed, clock: Clock, disk: Disk | undefined, host: Host | undefined): Status {
  const { configuration, tee, session } = node.facts;
  return {
    node: configuration?.node ?? "",
    version: VERSION,
    state: node.state.state,
    tee: tee?.tee ?? "",
    phases: [...node.phases].map(([name, state]) => phaseOf(name, state, clock)),
    disk,
    lease: session === undefined ? undefined : leaseOf(session.lease, clock),
    failure: failureOf(node),
    host,
    evidenceSha256: session?.evidenceSha256 ?? "",
    attestedUnixMs: BigInt(session?.attestedUnixMs ?? 0),
  };
}

function phaseOf(name: PhaseName, phase: PhaseState, clock: Clock): Phase {
  switch (phase.state) {
    case "pending":
      return { name, state: phase.state, durationMs: 0n, attempts: 0, detail: "" };
    case "running":
    case "retrying": {
      const durationMs = BigInt(clock.monotonic() - phase.since);
      const detail = "error" in phase ? `${phase.error.code}: ${phase.error.message}` : "";
      return { name, state: phase.state, durationMs, attempts: phase.attempts, detail };
    }
    case "done":
    case "skipped":
      return { name, ...phase, durationMs: BigInt(phase.durationMs) };
    case "failed": {
      const { state, durationMs, attempts, error } = phase;
      return {
        name,
        state,
        durationMs: BigInt(durationMs),
        attempts,
        detail: `${error.code}: ${error.message}`,
      };
    }
    default:
      return phase satisfies never;
  }
}

/** What stands in the way: why it failed or is locked, or what it is waiting for. */
function failureOf({ state, phases }: Viewed): Failure | undefined {
  if ("error" in state) return failure(state.phase, state.error);
  for (const [name, phase] of phases) if (phase.state === "retrying") return failure(name, phase.error);
  return undefined;
}

function failure(phase: string, error: Extract<NodeState, { error: unknown }>["error"]): Failure {
  const { code, message, expected = "", found = "" } = error;
  return { code, phase, message, remedy: REMEDY[code], expected, found };
}

function leaseOf(lease: { id: string; durationMs: number; heldUntil: number }, clock: Clock): Lease {
  return {
    id: lease.id,
    durationMs: BigInt(Math.round(lease.durationMs)),
    expiresUnixMs: BigInt(Math.round(clock.wall() + lease.heldUntil - clock.monotonic())),
  };
}
