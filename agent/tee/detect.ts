/**
 * Which TEE this machine is in, and the source that its evidence comes from (I8: without one nothing goes on). The
 * device's own ioctl comes before configfs-tsm where both exist: it tells firmware errors apart.
 */
import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { SealetError } from "../error.ts";
import { CONFIGFS_TSM, ConfigfsTsm, tsmProvider } from "./configfs-tsm.ts";
import type { EvidenceSource } from "./evidence-source.ts";
import { SEV_GUEST, SevGuest } from "./sev-guest.ts";
import { TDX_GUEST } from "./tdx-guest.ts";

export interface Places {
  readonly sevGuest: string;
  readonly tdxGuest: string;
  readonly tsm: string;
  /** Linux 6.10 and later say here which VMPL the kernel runs at. */
  readonly vmpl: string;
}

export const PLACES: Places = {
  sevGuest: SEV_GUEST,
  tdxGuest: TDX_GUEST,
  tsm: CONFIGFS_TSM,
  vmpl: "/sys/devices/system/cpu/sev/vmpl",
};

/** @throws TEE_ABSENT; TEE_REFUSED where a TDX guest can't make quotes */
export async function detectTee(places: Places = PLACES): Promise<EvidenceSource> {
  const vmpl = await currentVmpl(places.vmpl);
  if (await exists(places.sevGuest)) return new SevGuest({ path: places.sevGuest, vmpl });
  const provider = await tsmProvider(places.tsm);
  if (provider !== undefined) return new ConfigfsTsm(provider, { path: places.tsm, vmpl });
  if (await exists(places.tdxGuest))
    throw new SealetError(
      "TEE_REFUSED",
      `${places.tdxGuest} is there, but ${places.tsm} gives no quotes: Linux 6.7 or later with tsm_report is needed`,
    );
  throw new SealetError(
    "TEE_ABSENT",
    `This machine has no TEE: neither ${places.sevGuest} nor a provider at ${places.tsm}`,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch {
    return false;
  }
}

async function currentVmpl(path: string): Promise<number> {
  try {
    const vmpl = Number((await readFile(path, "utf8")).trim());
    return Number.isInteger(vmpl) && vmpl >= 0 && vmpl <= 3 ? vmpl : 0;
  } catch {
    return 0; // an older kernel: it runs at level 0, or the firmware will say so
  }
}
