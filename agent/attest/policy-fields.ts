/**
 * Building blocks of the policy's schema. Every field is mandatory; what is not checked says so with a reason, and the
 * reason stands in the verdict.
 */
import * as z from "zod";

/** "Not checked" is a decision: it is spelled out, and why. */
export const unchecked = z.strictObject({ unchecked: z.string().min(3).max(500) });
export type Unchecked = z.infer<typeof unchecked>;

export function orUnchecked<T extends z.ZodType>(schema: T): z.ZodUnion<[T, typeof unchecked]> {
  return z.union([schema, unchecked]);
}

export function isUnchecked(field: unknown): field is Unchecked {
  return typeof field === "object" && field !== null && "unchecked" in field;
}

/** Lower-case hex of so many bytes. */
export function hexBytes(...sizes: readonly number[]): z.ZodString {
  const pattern = sizes.map((size) => `[0-9a-f]{${2 * size}}`).join("|");
  return z.string().regex(new RegExp(`^(?:${pattern})$`), `lower-case hex of ${sizes.join(" or ")} bytes`);
}

/** One of the digests listed. */
export function anyOfHex(...sizes: readonly number[]) {
  return z.strictObject({
    anyOf: z
      .array(hexBytes(...sizes))
      .min(1)
      .max(1024),
  });
}

export const byte = z.int().min(0).max(255);

/** A moment, as ISO 8601 in UTC. */
export const moment = z.iso.datetime({ offset: false });

/** One bit: how it has to be. */
export const bit = orUnchecked(z.enum(["set", "clear"]));
