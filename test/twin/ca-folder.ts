/** The twin's certificate authorities for this machine's tests: RSA-4096 keys take seconds, so they are made once. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { artefact, digest } from "../../image/artefact.ts";
import { amdCa } from "./amd-ca.ts";
import { IntelCa } from "./intel-ca.ts";

/** The folder that a twin's configuration names as `ca`. */
export async function twinCaFolder(): Promise<string> {
  const inputs = [await digest("test/twin/amd-ca.ts", "test/twin/der.ts", "test/twin/ca-folder.ts")];
  return artefact("twin-ca", inputs, async ({ folder }) => {
    for (const product of ["Milan", "Genoa", "Turin"] as const) amdCa(product, folder);
    writeFileSync(join(folder, "intel.json"), JSON.stringify(new IntelCa().exportKeys()), { mode: 0o600 });
    return Promise.resolve();
  });
}
