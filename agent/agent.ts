/**
 * `sealet agent`: the real parts put together, in one process that systemd watches. The socket is served from the first
 * moment to the last, whatever becomes of the boot: a node that fails must be able to say why.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { hardenProcess } from "../native/memory.ts";
import { type Notifier, createNotifier } from "../native/notify.ts";
import { peerCredentials } from "../native/peer-credentials.ts";
import { Health } from "./api/health.ts";
import type { NodeView } from "./api/node-service.ts";
import {
  type Listener,
  SERVED,
  type TlsIdentity,
  type TlsListener,
  serveSocket,
  serveTls,
} from "./api/server.ts";
import { statusOf } from "./api/status-view.ts";
import { afterwards } from "./boot/afterwards.ts";
import { systemClock } from "./boot/clock.ts";
import { type Event, Journal } from "./boot/journal.ts";
import { Node } from "./boot/node.ts";
import type { NodeUnsealed } from "./boot/node-keys.ts";
import type { PhaseName } from "./boot/phase.ts";
import { SessionFile } from "./boot/session.ts";
import { ThisMachine } from "./boot/this-machine.ts";
import { SealetError } from "./error.ts";
import { hostFacts } from "./host.ts";
import { FILES } from "./kubelet/places.ts";
import { readIfThere } from "./atomic-file.ts";
import { systemd } from "./kubelet/systemd.ts";
import { pem } from "./crypto/pem.ts";
import { type Log, createLogger } from "./log.ts";
import { VERSION } from "./version.ts";

export interface AgentOptions {
  /** A folder on a tmpfs: gone with the boot. */
  readonly runtime: string;
  readonly until?: PhaseName | undefined;
  /** Aborted when the agent is to end. */
  readonly stop: AbortSignal;
  /** A line for the console at each event. */
  readonly console: (line: string) => void;
}

export async function runAgent(options: AgentOptions): Promise<void> {
  hardenProcess({ lockAll: false });
  const { runtime, stop } = options;
  const { log, setLevel } = createLogger();
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  const clock = systemClock;
  using notifier = createNotifier(process.env);
  const journal = new Journal(clock, `${runtime}/events.jsonl`);
  journal.subscribe((event) => report(event, log, notifier, options.console));
  journal.append({ phase: "agent", kind: "note", message: `sealet ${VERSION} starts` });

  const health = new Health(SERVED);
  const listeners: Listener[] = [];
  let nodeApi: TlsListener | undefined;
  const machine = new ThisMachine({
    runtime,
    clock,
    services: systemd(),
    onConfigured: ({ measured }) => setLevel(measured.logLevel),
    serve: async () => {
      nodeApi = await openNodeApi(machine, view, health);
      listeners.push(nodeApi);
      return `node API on port ${nodeApi.port}`;
    },
  });
  const node: Node<NodeUnsealed> = new Node(
    {
      machine,
      journal,
      clock,
      session: new SessionFile(`${runtime}/session.json`),
      until: options.until,
      onState: ({ state }) => health.setServing(state === "serving"),
      onServing: (signal) => {
        const onRenewed = () => nodeApi?.update(nodeApiIdentity(machine));
        afterwards({ facts: node.facts, machine, journal, signal, onRenewed });
      },
    },
    stop,
  );
  const view = viewOf(node, machine, journal);
  listeners.push(
    await serveSocket({
      path: `${runtime}/agent.sock`,
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
    bootId: readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim(),
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

function openNodeApi(machine: ThisMachine, view: NodeView, health: Health): Promise<TlsListener> {
  const { port } = machine.configuration.measured.api;
  return serveTls({ port, identity: nodeApiIdentity(machine), view, health });
}

/** The certificate that kubelet serves with, too. */
function nodeApiIdentity({ keys }: ThisMachine): TlsIdentity {
  const privateKey = readIfThere(FILES.servingKey);
  if (keys.enrolment === undefined || privateKey === undefined) {
    throw new SealetError("INTERNAL", "kubelet runs without an enrolment");
  }
  const { servingCertificate, clusterCa } = keys.enrolment;
  return {
    privateKey,
    certificate: pem("CERTIFICATE", servingCertificate),
    clusterCa: pem("CERTIFICATE", clusterCa),
  };
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
