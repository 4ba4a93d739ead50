/** Commands that talk to an agent: this machine's on its socket, or another's over mutual TLS. */
import { type Command, Option } from "commander";
import { SealetError } from "../error.ts";

/** As agent.ts has it; importing that would load the whole agent for every command. */
const SOCKET = "/run/sealet/agent.sock";

export type AgentAddress =
  | { readonly socket: string }
  | {
      /** "host:port" */
      readonly endpoint: string;
      /** The name that the node's certificate has to have. */
      readonly node: string;
      /** PEM files: the cluster's CA; a certificate of the control plane, and its key. */
      readonly ca: string;
      readonly cert: string;
      readonly key: string;
    };

export interface AgentOptions {
  readonly socket: string;
  readonly address?: string;
  readonly node?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export function onAgent(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(new Option("--socket <path>", "this machine's agent").default(SOCKET).env("SEALET_SOCKET"))
    .addOption(new Option("--address <host:port>", "another machine's agent, by mutual TLS"))
    .addOption(new Option("--node <name>", "with --address: the name in that node's certificate"))
    .addOption(new Option("--ca <file>", "with --address: the cluster's CA").env("SEALET_CA"))
    .addOption(
      new Option("--cert <file>", "with --address: a control plane's certificate").env("SEALET_CERT"),
    )
    .addOption(new Option("--key <file>", "with --address: its private key").env("SEALET_KEY"));
}

/** @throws USAGE where --address lacks what belongs to it */
export function agentAddress({ socket, address, node, ca, cert, key }: AgentOptions): AgentAddress {
  if (address === undefined) return { socket };
  if (node === undefined || ca === undefined || cert === undefined || key === undefined)
    throw new SealetError("USAGE", "--address needs --node, --ca, --cert and --key beside it");
  return { endpoint: address, node, ca, cert, key };
}
