/**
 * `sealet agent`: the real parts put together, in one process that systemd watches. The socket is served from the first
 * moment to the last, whatever becomes of the boot: a node that fails must be able to say why.
 */
import { mkdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { hardenProcess } from "../native/memory.ts";
import { type Notifier, createNotifier } from "../native/notify.ts";
import { peerCredentials } from "../native/peer-credentials.ts";
import { Health } from "./api/health.ts";
import type { NodeView } from "./api/node-service.ts";
import { type Listener, SERVED, serveSocket, serveTls } from "./api/server.ts";
import { statusOf } from "./api/status-view.ts";
import { systemClock } from "./boot/clock.ts";
import { type Event, Journal } from "./boot/journal.ts";
import { Node } from "./boot/node.ts";
import type { NodeUnsealed } from "./boot/node-keys.ts";
import type { PhaseName } from "./boot/phase.ts";
import { SessionFile } from "./boot/session.ts";
import { ThisMachine } from "./boot/this-machine.ts";
import { asSealetError } from "./error.ts";
import { hostFacts } from "./host.ts";
import { nodePatch, patchNode } from "./kubelet/node-object.ts";
import { FILES } from "./kubelet/places.ts";
import { readIfThere } from "./kubelet/atomic-file.ts";
import { systemd } from "./kubelet/systemd.ts";
import { pem } from "./crypto/pem.ts";
import { type Log, createLog } from "./log.ts";
import { VERSION } from "./version.ts";

/** A tmpfs: gone with the boot. */
export const RUNTIME = "/run/sealet";
export const SOCKET = `${RUNTIME}/agent.sock`;

export interface AgentOptions {
  readonly until?: PhaseName | undefined;
  /** Aborted when the agent is to end. */
  readonly stop: AbortSignal;
  readonly log?: Log;
  /** A line for the console at each event. */
  readonly console: (line: string) => void;
}

export async function runAgent(options: AgentOptions): Promise<void> {
  hardenProcess({ lockAll: false });
  mkdirSync(RUNTIME, { recursive: true, mode: 0o700 });
  const { log = createLog("info"), stop } = options;
  const clock = systemClock;
  using notifier = createNotifier(process.env);
  const journal = new Journal(clock, `${RUNTIME}/events.jsonl`);
  journal.subscribe((event) => report(event, log, notifier, options.console));
  journal.append({ phase: "agent", kind: "note", message: `sealet ${VERSION} starts` });

  const health = new Health(SERVED);
  const listeners: Listener[] = [];
  const machine = new ThisMachine({
    runtime: RUNTIME,
    clock,
    services: systemd(),
    serve: async () => {
      const listener = await openNodeApi(machine, view, health);
      listeners.push(listener);
      return `node API on port ${listener.port}`;
    },
  });
  const node: Node<NodeUnsealed> = new Node(
    {
      machine,
      journal,
      clock,
      session: new SessionFile(`${RUNTIME}/session.json`),
      until: options.until,
      onState: ({ state }) => health.setServing(state === "serving"),
      onServing: (signal) => afterwards(node, machine, journal, signal),
    },
    stop,
  );
  const view = viewOf(node, machine, journal);
  listeners.push(
    await serveSocket({
      path: SOCKET,
      view,
      health,
      peer: peerCredentials,
      onRefused: ({ code, message, found }) => log("warn", message, { code, found }),
    }),
  );
  notifier.ready();
  const heartbeat = beat(notifier);
  try {
    await node.run();
  } finally {
    notifier.stopping();
    clearInterval(heartbeat);
    for (const listener of listeners) await listener.close();
    machine.close();
  }
}

function viewOf(node: Node<NodeUnsealed>, machine: ThisMachine, journal: Journal): NodeView {
  return {
    events: journal,
    disk: () => machine.describeDisk(),
    evidence: (nonce, signal) => machine.evidence(nonce, signal),
    status: async () => {
      // What can't be told yet is left out: a status is an answer in every state of the node.
      const disk = await machine.describeDisk().catch(() => undefined);
      return statusOf(node, systemClock, disk, await hostFacts().catch(() => undefined));
    },
  };
}

async function openNodeApi(
  machine: ThisMachine,
  view: NodeView,
  health: Health,
): Promise<Listener & { port: number }> {
  const { api } = machine.configuration.measured;
  const { enrolment } = machine.keys;
  const privateKey = readIfThere(FILES.servingKey);
  if (enrolment === undefined || privateKey === undefined)
    throw new Error("kubelet runs without an enrolment");
  const identity = {
    privateKey,
    certificate: pem("CERTIFICATE", enrolment.servingCertificate),
    clusterCa: pem("CERTIFICATE", enrolment.clusterCa),
  };
  return serveTls({ port: api.port, identity, view, health });
}

/** What has no place in the boot, since nothing waits for it. Each goes on until it is done; none may end the agent. */
function afterwards(
  node: Node<NodeUnsealed>,
  machine: ThisMachine,
  journal: Journal,
  signal: AbortSignal,
): void {
  const background = async (what: string, step: () => Promise<void>) => {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await step();
        journal.append({ phase: "agent", kind: "note", message: what });
        return;
      } catch (thrown) {
        const { code, message } = asSealetError(thrown);
        if (signal.aborted) return;
        // The first failures are usual: the node's object is made by kubelet, seconds after its start.
        if (attempt % 10 === 5)
          journal.append({ phase: "agent", kind: "note", code, message: `${what}: ${message}` });
        await delay(Math.min(30_000, 500 * 1.5 ** attempt), undefined, { signal }).catch(() => undefined);
      }
    }
  };
  void background("The state disk is initialised", () => machine.initialiseDisk(signal));
  void background("The node's object tells its TEE", async () => {
    const { configuration, session, tee } = node.facts;
    if (configuration === undefined || session === undefined || tee === undefined) return;
    const { evidenceSha256, attestedUnixMs } = session;
    const facts = { tee: tee.tee, measurement: machine.measurement(), evidenceSha256, attestedUnixMs };
    const api = machine.kubernetesApi();
    try {
      await patchNode(
        api,
        configuration.node,
        nodePatch(facts),
        AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
      );
    } finally {
      api.key.fill(0);
    }
  });
}

const LEVEL = {
  started: "debug",
  done: "info",
  skipped: "info",
  retried: "warn",
  failed: "error",
  note: "info",
} as const;

function report(event: Event, log: Log, notifier: Notifier, print: (line: string) => void): void {
  const { phase, kind, code, message, durationMs, sequence } = event;
  log(LEVEL[kind], message === "" ? `${phase} ${kind}` : message, {
    phase,
    kind,
    code,
    durationMs,
    sequence,
  });
  const words = [phase, kind, code, message].filter((word) => word !== undefined && word !== "").join(" ");
  notifier.status(words);
  if (kind !== "started") print(`${words}${durationMs > 0 ? ` (${(durationMs / 1000).toFixed(2)} s)` : ""}`);
}

/** From the event loop: an agent whose loop hangs is restarted by systemd. */
function beat(notifier: Notifier): NodeJS.Timeout | undefined {
  const { watchdogInterval } = notifier;
  if (watchdogInterval === undefined) return undefined;
  notifier.watchdog();
  return setInterval(() => notifier.watchdog(), watchdogInterval / 2);
}
