/** What `sealet status -o json` and `sealet events -o json` print, as far as tests look at it. */
import { z } from "zod";
import { PHASES } from "../../agent/boot/phase.ts";

export const statusSchema = z
  .object({
    node: z.string(),
    state: z.enum(["booting", "serving", "failed", "locked", "stopping"]),
    tee: z.string(),
    phases: z.array(
      z
        .object({
          name: z.enum(PHASES),
          state: z.enum(["pending", "running", "done", "skipped", "retrying", "failed"]),
          durationMs: z.number(),
          attempts: z.number(),
          detail: z.string(),
        })
        .loose(),
    ),
    disk: z
      .object({
        state: z.string(),
        uuid: z.string(),
        epoch: z.number(),
        open: z.boolean(),
        mountPoint: z.string(),
      })
      .loose()
      .optional(),
    lease: z.object({ id: z.string() }).loose().optional(),
    failure: z
      .object({
        code: z.string(),
        phase: z.string(),
        message: z.string(),
        remedy: z.string(),
        expected: z.string(),
        found: z.string(),
      })
      .loose()
      .optional(),
  })
  .loose();

export type Status = z.infer<typeof statusSchema>;

export const eventSchema = z
  .object({
    sequence: z.number(),
    timeUnixMs: z.number(),
    phase: z.string(),
    kind: z.string(),
    code: z.string().optional(),
    message: z.string(),
    durationMs: z.number().optional(),
  })
  .loose();

export type Event = z.infer<typeof eventSchema>;

/** The phase's row. */
export function phaseOf(status: Status, name: (typeof PHASES)[number]): Status["phases"][number] {
  const found = status.phases.find((phase) => phase.name === name);
  if (found === undefined) throw new Error(`the status has no phase ${name}`);
  return found;
}
