/** `sealet operator`: the key that signs enrolments and policies. */
import type { Command } from "commander";
import { type Output, fields } from "./output.ts";

export function registerOperator(program: Command, output: Output): void {
  const operator = program.command("operator").description("the key that signs enrolments and policies");
  operator
    .command("init")
    .description("make an Ed25519 key pair")
    .requiredOption("--key <file>", "where the private key goes (0600)")
    .option("--public-key <file>", "where the public key goes; default: beside it, with .pub")
    .action(async ({ key, publicKey = `${key}.pub` }: { key: string; publicKey?: string }) => {
      const { createOperatorKey } = await import("./sign.ts");
      const keyid = createOperatorKey(key, publicKey);
      output.result({ keyid, key, publicKey }, (style) =>
        fields(
          [
            ["key id", keyid],
            ["private key", key],
            ["public key", publicKey],
          ],
          style,
        ),
      );
    });
}
