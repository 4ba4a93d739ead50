/** Writes event logs as firmware does, and the registers they lead to. */
import { createHash } from "node:crypto";

function sha384(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha384");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** The register after these were measured into it. */
export function extended(...texts: readonly string[]): Uint8Array {
  let register: Uint8Array = new Uint8Array(48);
  for (const text of texts) register = sha384(register, sha384(Buffer.from(text)));
  return register;
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const u16 = (value: number): Uint8Array => new Uint8Array(Uint16Array.of(value).buffer);

interface Event {
  readonly index: number;
  readonly type: number;
  readonly data: string;
  /** What its digest is of, where that is not the data. */
  readonly measured?: string;
}

/** A CCEL with events of SHA-384, padded as firmware pads its area. */
export function eventLog(...events: readonly Event[]): Uint8Array {
  const spec = Buffer.concat([
    Buffer.from("Spec ID Event03\0"),
    u32(0),
    Uint8Array.of(0, 2, 0, 2),
    u32(1),
    u16(12),
    u16(48),
    Uint8Array.of(0),
  ]);
  const list = events.map(({ index, type, data, measured = data }) => {
    const digest = sha384(Buffer.from(measured));
    return Buffer.concat([
      u32(index),
      u32(type),
      u32(1),
      u16(12),
      digest,
      u32(data.length),
      Buffer.from(data),
    ]);
  });
  const header = [u32(1), u32(3), new Uint8Array(20), u32(spec.length), spec];
  return new Uint8Array(Buffer.concat([...header, ...list, new Uint8Array(64).fill(0xff)]));
}
