/**
 * Facts of the machine, for people: what the kernel says of itself. Nothing is decided on them. Of systeminformation
 * only what reads a file: most of its functions start shells, which the node does not have.
 */
import { readFileSync } from "node:fs";
import { cpus, release, uptime } from "node:os";
import type { Host } from "./api/gen/sealet.ts";

export async function hostFacts(): Promise<Host> {
  // Not loaded at the start: only a status asks for it.
  const { mem } = await import("systeminformation");
  const memory = await mem();
  const processors = cpus();
  return {
    kernel: release(),
    os: prettyName(),
    cpu: processors[0]?.model ?? "",
    cores: processors.length,
    memoryBytes: BigInt(memory.total),
    memoryAvailableBytes: BigInt(memory.available),
    uptimeSeconds: uptime(),
  };
}

/** @see os-release(5) */
function prettyName(): string {
  try {
    const text = readFileSync("/etc/os-release", "utf8");
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? "";
  } catch {
    return "";
  }
}
