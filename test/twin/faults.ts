/** What may go wrong at a TEE, told by its cause; the twin's drivers do with it what the kernel's do. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";

export const faultSchema = z.discriminatedUnion("kind", [
  /** The answer takes longer. */
  z.strictObject({ kind: z.literal("delay"), milliseconds: z.number() }),
  /** The host throttles (VMM error 2) until the driver gives up: after 60 s in the kernel, after this here. */
  z.strictObject({ kind: z.literal("host-busy"), milliseconds: z.number() }),
  z.strictObject({ kind: z.literal("vmm-error"), code: z.number() }),
  z.strictObject({ kind: z.literal("firmware-error"), code: z.number() }),
  /** The answer's sequence number, type or authentication tag is wrong. */
  z.strictObject({ kind: z.literal("bad-message") }),
  /** The driver did not come to ask the firmware. */
  z.strictObject({ kind: z.literal("driver-error"), errno: z.enum(["EINVAL", "ENOMEM", "EFAULT"]) }),
  /** The firmware answers, with a status and nothing else. */
  z.strictObject({ kind: z.literal("status"), status: z.number() }),
  /** The host has this many bytes of certificates. */
  z.strictObject({ kind: z.literal("certificates"), bytes: z.number() }),
  /** configfs-tsm, or TDX's device: reading fails. */
  z.strictObject({
    kind: z.literal("read-error"),
    errno: z.enum(["EBUSY", "EAGAIN", "EINTR", "ETIMEDOUT", "EINVAL", "ENXIO", "EIO", "ENOTTY", "ENOMEM"]),
  }),
  /** configfs-tsm: somebody else writes between our write and our read. */
  z.strictObject({ kind: z.literal("foreign-write") }),
  /** The report itself. */
  z.strictObject({
    kind: z.literal("report"),
    reportData: z.literal("other").optional(),
    signature: z.literal("bad").optional(),
    vmpl: z.number().optional(),
    size: z.number().optional(),
    /** The last report of before, whatever is asked now. */
    replay: z.literal(true).optional(),
  }),
]);

export type Fault = z.infer<typeof faultSchema>;
export type FaultOf<Kind extends Fault["kind"]> = Extract<Fault, { readonly kind: Kind }>;

/** Each request takes the next fault. */
export class Faults {
  #queue: Fault[] = [];

  get waiting(): number {
    return this.#queue.length;
  }

  add(fault: Fault, times: number): void {
    for (let index = 0; index < times; index++) this.#queue.push(fault);
  }

  clear(): void {
    this.#queue = [];
  }

  /** Takes the next one if it is a foreign write: that is no fault of the request. */
  takeForeignWrite(): boolean {
    if (this.#queue[0]?.kind !== "foreign-write") return false;
    this.#queue.shift();
    return true;
  }

  /** Delays are over when this resolves. */
  async next(): Promise<Exclude<Fault, FaultOf<"delay">> | undefined> {
    const fault = this.#queue.shift();
    if (fault?.kind !== "delay") return fault;
    await sleep(fault.milliseconds);
    return undefined;
  }
}
