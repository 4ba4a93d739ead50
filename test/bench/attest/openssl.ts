/** `openssl speed` of the same curve, on the same core, in the same run: the measure of all. */
import { spawn, spawnSync } from "node:child_process";
import { text } from "node:stream/consumers";

const PROGRAM = "/usr/bin/openssl";
const ALGORITHM = { "P-384": "ecdsap384", "P-256": "ecdsap256" } as const;
export type Curve = keyof typeof ALGORITHM;

/** As it calls itself; undefined where there is none. */
export function opensslVersion(): string | undefined {
  const { status, stdout } = spawnSync(PROGRAM, ["version"], { encoding: "utf8" });
  return status === 0 ? (/^OpenSSL [0-9.]+/u.exec(stdout)?.[0] ?? stdout.trim()) : undefined;
}

/**
 * Verifications a second. It signs for a second, too, which it can't be kept from.
 * @param how pinned to a core, or that many processes at once (`-multi`)
 */
export async function opensslSpeed(
  curve: Curve,
  how: { readonly core: number } | { readonly processes: number },
): Promise<number> {
  // by the clock on the wall, as everybody here: it would else not see that others slow it down
  const speed = [PROGRAM, "speed", "-elapsed", "-seconds", "1", "-mr"];
  const [program = "", ...args] =
    "core" in how
      ? ["taskset", "-c", String(how.core), ...speed, ALGORITHM[curve]]
      : [...speed, "-multi", String(how.processes), ALGORITHM[curve]];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
  const printed = await text(child.stdout);
  // +F4:<index>:<bits>:<sign>:<verify>; seconds an operation from one process, operations a second summed up of several
  const last = Number(/^\+F[0-9]+:.*$/mu.exec(printed)?.[0].split(":").at(-1));
  if (!(last > 0)) throw new Error(`openssl speed says ${printed}`);
  return last < 1 ? 1 / last : last;
}
