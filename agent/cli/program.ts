/**
 * The command line: a table of commands, one place where errors become words and an exit code. Commands register
 * themselves; none writes to a stream or exits.
 */
import { Command, CommanderError } from "commander";
import { SealetError, asSealetError } from "../error.ts";
import { EXIT, EXIT_CODE, type Exit } from "./exit.ts";
import { Output, type Sink } from "./output.ts";
import { registerAgent } from "./agent.ts";
import { registerAudit } from "./audit.ts";
import { registerCollateral } from "./collateral.ts";
import { registerDisk } from "./disk.ts";
import { registerEvents } from "./events.ts";
import { registerEvidence } from "./evidence.ts";
import { registerKms } from "./kms.ts";
import { registerNodes } from "./nodes.ts";
import { registerOperator } from "./operator.ts";
import { registerPolicy } from "./policy.ts";
import { registerExplain } from "./explain.ts";
import { registerStatus } from "./status.ts";
import { registerVerify } from "./verify.ts";
import { registerVersion } from "./version.ts";

/** A command's modules are loaded by its action, not by its registration: `sealet version` needs no gRPC. */
export type Register = (program: Command, output: Output) => void;

const COMMANDS: readonly Register[] = [
  registerStatus,
  registerEvents,
  registerEvidence,
  registerDisk,
  registerAgent,
  registerVersion,
  registerKms,
  registerOperator,
  registerNodes,
  registerPolicy,
  registerAudit,
  registerVerify,
  registerExplain,
  registerCollateral,
];

export interface Streams {
  readonly stdout: Sink;
  readonly stderr: Sink;
}

/** @param args without program name */
export async function runProgram(
  args: readonly string[],
  streams: Streams = process,
  commands: readonly Register[] = COMMANDS,
): Promise<Exit> {
  const output = new Output(streams.stdout, streams.stderr);
  const json = /(?:^|\s)(?:-o|--output)[\s=]?json(?:\s|$)/u.test(args.join(" "));
  const program = new Command("sealet")
    .description("The node agent of an always-encrypted Kubernetes cluster")
    .option("-o, --output <format>", "text or json", (value) => {
      if (value !== "text" && value !== "json") throw new SealetError("USAGE", `No output format '${value}'`);
      output.format = value;
      return value;
    })
    .showHelpAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      // a program that asked for JSON gets it for what is wrong with the usage, too
      writeErr: (text) => json || streams.stderr.write(text),
    });
  for (const register of commands) register(program, output);
  inherit(program, program);
  try {
    await program.parseAsync([...args], { from: "user" });
    return EXIT.OK;
  } catch (thrown) {
    // commander has printed its own already: help, version, or what is wrong with the usage.
    if (thrown instanceof CommanderError) {
      if (thrown.exitCode === 0) return EXIT.OK;
      if (json) {
        output.format = "json";
        output.error(new SealetError("USAGE", thrown.message.replace(/^error: /u, "")));
      }
      return EXIT.USAGE;
    }
    const error = asSealetError(thrown);
    output.error(error);
    return EXIT_CODE[error.code];
  }
}

/** `-o json` may stand behind the command, too; commander does not hand settings down to commands added by name. */
function inherit(command: Command, program: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(program);
    inherit(child, program);
  }
}
