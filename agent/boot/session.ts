/**
 * What the next agent of the same boot must know of this one: the lease, and which evidence got it. On /run, so a boot
 * never sees an earlier one's. Nothing secret; what it claims gives no key.
 */
import { readFileSync, rmSync } from "node:fs";
import { z } from "zod";
import { writeAtomically } from "../atomic-file.ts";

const schema = z.strictObject({
  lease: z.strictObject({
    id: z.string(),
    durationMs: z.number().positive(),
    /** By `Clock.monotonic()`, which goes on counting for the next agent. */
    heldUntil: z.number(),
  }),
  uuid: z.string(),
  /** What this machine is, and whose keys it took: it may not become another's while the disk is open. */
  initdataSha256: z.string(),
  evidenceSha256: z.string(),
  attestedUnixMs: z.number(),
});

export type Session = Readonly<z.infer<typeof schema>>;

export class SessionFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** @returns nothing where there is none, or none that can be read: the disk's keys are then asked for again */
  read(): Session | undefined {
    try {
      return schema.parse(JSON.parse(readFileSync(this.#path, "utf8")));
    } catch {
      return undefined;
    }
  }

  /** Where /run can't be written the one of before stays, or none: its lease ends sooner, or keys are asked for again. */
  write(session: Session): void {
    try {
      writeAtomically(this.#path, JSON.stringify(session));
    } catch {
      // Neither may keep this agent from serving, nor from locking.
    }
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}
