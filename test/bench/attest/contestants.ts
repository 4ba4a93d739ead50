/** Who takes part in `test/bench/attest.ts`, pinned to what, and what each of them checks. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { build, Conversation, PEERS, version, type Peer, type PeerName } from "../../differential/peers.ts";
import { snpRequest, tdxRequest, type Bench } from "../../differential/requests.ts";
import { snp, tdx } from "./evidence.ts";
import { opensslSpeed, type Curve } from "./openssl.ts";

export const CORES = availableParallelism();
/** Where everything of a contestant runs that is pinned to one core. */
const CORE = CORES - 1;
const ONE = `core ${CORE}`;
const OURS = join(import.meta.dirname, "ours.ts");

export interface Contestant {
  readonly id: string;
  readonly name: string;
  readonly where: string;
  readonly section: keyof typeof SECTIONS;
  /** Whose `openssl speed` it is held against; none for what verifies no signature. */
  readonly curve?: Curve;
  readonly checks: string;
  /** Who of ours does the same on the same core. */
  readonly rival?: string;
  readonly rate: (seconds: number) => Promise<number>;
}

export const SECTIONS = {
  snp: "SEV-SNP, one thread (P-384)",
  tdx: "TDX, one thread (P-256)",
  pool: `All ${CORES} cores`,
  refused: "Refused, one thread",
} as const;
export const ORDER = ["snp", "tdx", "pool", "refused"] as const;

const ALL_SNP = "all: chain, CRL, TCB, chip, policy, nonce";
const ALL_TDX = "all: chain, CRLs, TCB info, QE identity, module, policy, nonce";
const KNOWN_VEK = "platform known: its chain's signatures are not verified again, all else is";
const KNOWN_PLATFORM = "platform and collateral known: their signatures are not verified again, all else is";

/** @returns ours as it runs in one way */
function ours(threads: number, cores: readonly number[], core?: number): Conversation {
  const program = [process.execPath, OURS, ...[threads, ...cores].map(String)] as const;
  return new Conversation(program, { core, env: { UV_THREADPOOL_SIZE: String(Math.max(1, threads)) } });
}

const tests = (program: Conversation, section: "one" | "two" | "pool", where: string): Contestant[] => {
  const test = (name: string, title: string, curve: Curve, checks: string): Contestant => ({
    id: `${section} ${name}`,
    name: title,
    where,
    section: section === "pool" ? "pool" : name.startsWith("tdx") || name === "P-256" ? "tdx" : "snp",
    curve,
    checks,
    rate: (seconds) => program.rate(`${name} ${seconds}`),
  });
  const list = [
    test("snp-warm", "sealet, SNP warm", "P-384", KNOWN_VEK),
    test("snp-cold", "sealet, SNP cold", "P-384", ALL_SNP),
    test("tdx-warm", "sealet, TDX warm", "P-256", KNOWN_PLATFORM),
    test("tdx-cold", "sealet, TDX cold", "P-256", ALL_TDX),
  ];
  if (section !== "one") return list;
  const refused = (name: string, title: string, checks: string): Contestant => ({
    id: name,
    name: title,
    where,
    section: "refused",
    checks,
    rate: (seconds) => program.rate(`${name} ${seconds}`),
  });
  return [
    test("P-384", "Node's crypto.verify", "P-384", "one signature"),
    test("P-256", "Node's crypto.verify", "P-256", "one signature"),
    ...list,
    test("snp-cold-no-crl", "sealet, SNP cold, no CRL", "P-384", "as cold, but the CRL"),
    refused("junk", "sealet, 1184 bytes of junk", "before the first signature"),
    refused("wrong-nonce", "sealet, another's nonce", "before the first signature"),
  ];
};

interface Task extends Omit<Bench, "seconds"> {
  readonly name: string;
  readonly rival?: string;
  readonly checks: string;
}

/** What each peer can be asked to do again and again. */
const TASKS: Readonly<Record<PeerName, readonly Task[]>> = {
  sev: [
    {
      name: "SNP warm",
      rival: "one snp-warm",
      warm: true,
      checks: "VCEK parsed before; the report's signature alone",
    },
    {
      name: "SNP cold",
      rival: "one snp-cold",
      checks: "chain with the ARK's own signature, report; no dates, CRL, TCB, chip, policy, nonce",
    },
  ],
  "go-sev-guest": [
    {
      name: "SNP warm",
      rival: "one snp-warm",
      warm: true,
      checks: "VCEK parsed before; format and signature alone",
    },
    {
      name: "SNP cold",
      rival: "one snp-cold",
      checks: "ARK and ASK parsed before; chain, dates, TCB; no CRL, policy, nonce",
    },
  ],
  "dcap-qvl": [
    {
      name: "TDX cold",
      rival: "one tdx-cold",
      checks: "chain, CRLs, TCB info, QE identity; no policy, nonce; keeps nothing",
    },
  ],
  "phala-dcap-qvl": [
    {
      name: "TDX cold",
      rival: "one tdx-cold",
      checks: "chain, CRLs by serial number, TCB info, QE identity; no module, policy, nonce",
    },
  ],
  "go-tdx-guest": [
    {
      name: "TDX cold",
      rival: "one tdx-cold",
      checks: "chain, CRLs, TCB info, QE identity; no policy, nonce",
    },
    {
      name: "TDX, no collateral",
      bare: true,
      checks: "chain and quote; no CRL, TCB info, QE identity, policy, nonce",
    },
  ],
};

async function peers(peer: Peer): Promise<{ readonly program: Conversation; readonly list: Contestant[] }> {
  const program = new Conversation(await build(peer), { core: CORE });
  const request = (bench: Bench): string =>
    peer.tee === "snp" ? snpRequest(snp, bench) : tdxRequest(tdx, bench);
  const list = TASKS[peer.name].map(({ name, checks, rival, ...how }): Contestant => ({
    id: `${peer.name} ${name}`,
    name: `${peer.library} ${version(peer)}, ${name}`,
    where: ONE,
    section: peer.tee,
    curve: peer.tee === "snp" ? "P-384" : "P-256",
    checks,
    ...(rival === undefined ? {} : { rival }),
    rate: (seconds) => program.rate(request({ ...how, seconds })),
  }));
  return { program, list };
}

function openssl(versionOfIt: string): Contestant[] {
  return (["P-384", "P-256"] as const).flatMap((curve): Contestant[] => [
    {
      id: `openssl ${curve}`,
      name: `openssl speed, ${curve} (${versionOfIt})`,
      where: ONE,
      section: curve === "P-384" ? "snp" : "tdx",
      curve,
      checks: "one signature",
      rate: () => opensslSpeed(curve, { core: CORE }),
    },
    {
      id: `openssl-multi ${curve}`,
      name: `openssl speed -multi ${CORES}, ${curve}`,
      where: "not pinned",
      section: "pool",
      curve,
      checks: "one signature",
      rate: () => opensslSpeed(curve, { processes: CORES }),
    },
  ]);
}

/** All of them, in the order of the sections, started; and how to end them. */
export async function contestants(
  system: string | undefined,
): Promise<{ readonly list: readonly Contestant[]; readonly close: () => Promise<void> }> {
  const running: Conversation[] = [];
  const all: Contestant[] = system === undefined ? [] : openssl(system);
  const enter = (program: Conversation, list: readonly Contestant[]): void => {
    running.push(program);
    all.push(...list);
  };
  const one = ours(0, [], CORE);
  enter(one, tests(one, "one", ONE));
  if (CORES > 1) {
    const two = ours(1, [0, CORE]);
    enter(two, tests(two, "two", `loop: core 0, pool of 1: core ${CORE}`));
    const pool = ours(CORES, []);
    enter(pool, tests(pool, "pool", `loop, pool of ${CORES}: not pinned`));
  }
  for (const peer of PEERS) {
    const { program, list } = await peers(peer);
    enter(program, list);
  }
  return {
    // who is compared runs close together
    list: all.toSorted((a, b) => ORDER.indexOf(a.section) - ORDER.indexOf(b.section)),
    close: async () => {
      for (const program of running) await program.close();
    },
  };
}
