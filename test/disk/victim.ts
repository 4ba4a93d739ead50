/** An agent to be killed: unseals the disk at argv[2] for epoch argv[3], and tells when it begins. */
import { agent, keys, SIGNAL } from "./guest-disk.ts";

const [, , path = "", epoch = "1"] = process.argv;
const state = agent(path);
const { facts } = await state.inspect(SIGNAL);
process.stdout.write("begin\n");
await state.unseal({ ...keys(BigInt(epoch)), format: facts.state !== "sealed" }, SIGNAL);
process.stdout.write("end\n");
