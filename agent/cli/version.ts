/** `sealet version`: what this executable is. */
import type { Command } from "commander";
import { VERSION } from "../version.ts";
import { type Output, fields } from "./output.ts";

export function registerVersion(program: Command, output: Output): void {
  program
    .command("version")
    .description("what this executable is")
    .action(() => {
      const about = {
        version: VERSION,
        node: process.versions.node,
        openssl: process.versions.openssl,
        architecture: process.arch,
      };
      output.result(about, (style) => fields(Object.entries(about), style));
    });
}
