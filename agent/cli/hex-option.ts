/** A command's option that takes a nonce. */
import { InvalidArgumentError } from "commander";

export function hexBytes(text: string): Buffer {
  if (!/^([0-9a-fA-F]{2}){1,64}$/.test(text)) throw new InvalidArgumentError("not 1 to 64 bytes in hex");
  return Buffer.from(text, "hex");
}
