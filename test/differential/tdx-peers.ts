/** The peers that TDX verdicts are held against: how they are built, and what they are asked. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { TdxCollateral } from "../../agent/attest/tdx/verify.ts";

export interface Sample {
  readonly from: string;
  readonly quote: Uint8Array;
  readonly collateral: TdxCollateral;
  readonly at: number;
  readonly root: Uint8Array;
  readonly pckCrlChain: string;
}

export interface Peer {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Tells the status with its answer; else it accepts UpToDate alone. */
  readonly status: boolean;
}

const FOLDER = join(process.env["SEALET_CACHE"] ?? "/var/cache/sealet", "differential");
export const PEERS: readonly Peer[] = [
  {
    name: "go-tdx-guest",
    command: ["go", "build", "-trimpath", "-o", join(FOLDER, "go-tdx-guest"), "."],
    status: false,
  },
  {
    name: "dcap-qvl",
    command: ["cargo", "build", "--release", "--locked", "--target-dir", FOLDER],
    status: true,
  },
];

/** Fetches and compiles it, where that was not done yet. @returns the program */
export function build({ name, command: [program, ...rest] }: Peer): string {
  mkdirSync(FOLDER, { recursive: true });
  if (spawnSync(program, [...rest], { cwd: join(import.meta.dirname, name), stdio: "inherit" }).status !== 0)
    throw new Error(`${name} does not build`);
  return program === "go" ? join(FOLDER, name) : join(FOLDER, "release", `${name}-peer`);
}

const base64 = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("base64");

/** One line of what both programs read. */
export function requestLine({ quote, collateral, at, root, pckCrlChain }: Sample): string {
  const documents = [...collateral.tcbInfo].map(([fmspc, { body, issuerChain }]) => [
    fmspc,
    { Body: base64(body), Chain: base64(issuerChain) },
  ]);
  return JSON.stringify({
    At: Math.floor(at / 1000),
    Quote: base64(quote),
    Root: base64(root),
    TcbInfo: Object.fromEntries(documents),
    QeIdentity: {
      Body: base64(collateral.qeIdentity?.body),
      Chain: base64(collateral.qeIdentity?.issuerChain),
    },
    RootCrl: base64(collateral.rootCrl),
    PckCrl: base64(collateral.pckCrl.platform),
    PckCrlChain: base64(Buffer.from(pckCrlChain)),
  });
}
