/** `sealet disk`: the state disk as the agent found and opened it. */
import type { Command } from "commander";
import type { Disk } from "../api/gen/sealet.ts";
import { type Output, type Style, fields } from "./output.ts";
import { type AgentOptions, agentAddress, onAgent } from "./agent-address.ts";
import { size } from "./words.ts";

export function registerDisk(program: Command, output: Output): void {
  onAgent(program, "disk", "the state disk as the agent found and opened it").action(
    async (options: AgentOptions) => {
      const { METHOD, askAgent } = await import("./node-client.ts");
      const disk = await askAgent(agentAddress(options), METHOD.getDisk, {});
      output.result(disk, (style) => diskText(disk, style));
    },
  );
}

function diskText(disk: Disk, style: Style): string {
  return fields(
    [
      ["state", disk.state],
      ["device", shown(disk.device)],
      ["uuid", shown(disk.uuid)],
      ["generation", String(disk.generation)],
      ["epoch", String(disk.epoch)],
      ["size", size(disk.sizeBytes)],
      ["cipher", shown(disk.cipher)],
      ["integrity", shown(disk.integrity)],
      ["open", disk.open ? style.green("yes") : "no"],
      ["mounted", shown(disk.mountPoint)],
      ["initialised", `${Math.floor(disk.initialised * 100)} %`],
    ],
    style,
  );
}

function shown(text: string): string {
  return text === "" ? "-" : text;
}
