/** The running key service: hardened first, ready for systemd once both doors are open, ended by SIGTERM. */
import { once } from "node:events";
import { createNotifier } from "../../native/notify.ts";
import { hardenProcess } from "../../native/memory.ts";
import { asSealetError } from "../error.ts";
import { attestVerifier } from "../kms/attest-verifier.ts";
import { startKms } from "../kms/server.ts";
import type { Output } from "./output.ts";

export async function serve(directory: string, listen: string | undefined, output: Output): Promise<void> {
  hardenProcess({ lockAll: false });
  await using kms = await startKms(directory, {
    verifier: attestVerifier,
    report: (_request, error) => output.error(asSealetError(error)),
    ...(listen === undefined ? {} : { listen }),
  });
  using notifier = createNotifier(process.env);
  const reload = () => {
    kms.reloadCollateral().then(
      () => output.note("Collateral was read again."),
      (error: unknown) => output.error(asSealetError(error)),
    );
  };
  process.on("SIGHUP", reload);
  try {
    const result = { address: kms.address, socket: kms.socket, spkiSha256: kms.spkiSha256 };
    output.result(result, (style) => `KMS serves on ${style.bold(kms.address)}, operators on ${kms.socket}`);
    notifier.status(`Serving on ${kms.address}`);
    notifier.ready();
    await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
    notifier.stopping();
  } finally {
    process.off("SIGHUP", reload);
  }
}
