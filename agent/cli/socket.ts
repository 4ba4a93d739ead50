/** Commands that talk to the agent of this machine. */
import { type Command, Option } from "commander";

/** As agent.ts has it; importing that would load the whole agent for every command. */
const SOCKET = "/run/sealet/agent.sock";

export interface SocketOptions {
  readonly socket: string;
}

export function onSocket(program: Command, name: string, description: string): Command {
  const option = new Option("--socket <path>", "the agent's socket").default(SOCKET).env("SEALET_SOCKET");
  return program.command(name).description(description).addOption(option);
}
