/** Puts a KMS together from its directory and opens its doors. */
import type { Collateral, Evidence } from "../attest/appraise.ts";
import { readDirectory, withKeptVcek } from "../collateral/directory.ts";
import { CollateralInForce } from "./collateral-in-force.ts";
import { SqliteStore } from "./sqlite.ts";
import { openDirectory, pathsOf } from "./directory.ts";
import { openCa } from "./enrolment-ca.ts";
import { spkiDigest, spkiOf } from "./identity.ts";
import { KeyService } from "./key-service.ts";
import { type ReportDefect, openNodeDoor, openOperatorDoor } from "./listener.ts";
import { OperatorService } from "./operator-service.ts";
import { podCidr } from "./pod-network.ts";
import { PolicyInForce } from "./policy-in-force.ts";
import type { Store } from "./store.ts";
import type { Verifier } from "./verifier.ts";

export interface KmsOptions {
  readonly verifier: (collateral: (evidence: Evidence) => Collateral) => Verifier;
  /** Default: from the directory. */
  readonly readCollateral?: () => Collateral;
  readonly report: ReportDefect;
  /** ms since 1970; default: the system's clock. */
  readonly now?: () => number;
  /** In place of the configuration's. */
  readonly listen?: string;
  /** Default: the SQLite file of the directory. */
  readonly openStore?: (path: string, now: () => number) => Store;
}

export interface Kms extends AsyncDisposable {
  /** "host:port" */
  readonly address: string;
  readonly socket: string;
  readonly spkiSha256: Buffer;
  /** Puts newer collateral in force. @throws COLLATERAL_ROLLED_BACK, CONFIG_INVALID */
  reloadCollateral(): Promise<void>;
  close(): Promise<void>;
}

const DAY_MS = 86_400_000;

/** @throws CONFIG_INVALID, COLLATERAL_ROLLED_BACK, STORE_FAILED (also where another KMS runs in this directory) */
export async function startKms(directory: string, options: KmsOptions): Promise<Kms> {
  const { report, now = Date.now } = options;
  const openStore = options.openStore ?? ((path, clock) => new SqliteStore(path, clock));
  const paths = pathsOf(directory);
  const { configuration, rootKey, tls, ca: authority, operators } = openDirectory(directory);
  const { cluster, endpoints, limits } = configuration;
  // What was opened is closed again in reverse order, at the end or where something here fails.
  await using opened = new AsyncDisposableStack();
  opened.use(rootKey);
  // First of all that is shared: it holds the lock.
  const store = opened.adopt(openStore(paths.database, now), (open) => open.close());
  const collateral = new CollateralInForce(
    store,
    options.readCollateral ?? (() => readDirectory(paths.collateral)),
    now,
  );
  await collateral.load();
  const verifier = options.verifier((evidence) =>
    withKeptVcek(collateral.current, evidence, [paths.collateral]),
  );
  const ca = openCa(authority.certificate, authority.privateKey, configuration.certificateDays * DAY_MS);
  const spki = spkiOf(tls.certificate);
  const partOf = (network: number) => podCidr(configuration.podNetwork, network);
  const service = new KeyService({
    cluster,
    facts: {
      apiServers: configuration.apiServers,
      kubeletConfiguration: JSON.stringify(configuration.kubelet),
      podCidr: partOf,
    },
    store,
    root: rootKey,
    ca,
    policy: new PolicyInForce(store, verifier, operators, cluster),
    operators,
    spki,
    limits: {
      leaseMs: Math.round(configuration.leaseSeconds * 1000),
      nonces: {
        lifetimeMs: Math.round(configuration.nonceSeconds * 1000),
        perPeer: limits.noncesPerPeer,
        total: limits.nonces,
      },
      refusalsPerMinute: limits.refusalsPerMinute,
      appraisals: limits.appraisals,
    },
    now,
  });
  const spkiSha256 = spkiDigest(spki);
  const desk = new OperatorService({
    cluster,
    endpoints,
    spkiSha256,
    store,
    verifier,
    operators,
    now,
    podCidr: partOf,
  });
  const operatorDoor = await openOperatorDoor(paths.socket, desk, report);
  opened.defer(() => operatorDoor.close());
  const nodeDoor = await openNodeDoor(
    options.listen ?? configuration.listen,
    tls,
    limits.connections,
    service,
    report,
  );
  opened.defer(() => nodeDoor.close());
  const running = opened.move();
  const close = () => running.disposeAsync();
  return {
    address: nodeDoor.address,
    socket: operatorDoor.address,
    spkiSha256,
    reloadCollateral: () => collateral.load(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
