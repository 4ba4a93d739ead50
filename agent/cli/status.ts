/** `sealet status`: what this node is, how far it came, and what stands in its way. */
import type { Command } from "commander";
import type { Disk, Failure, Status } from "../api/gen/sealet.ts";
import { type Output, type Style, fields, printable, table } from "./output.ts";
import { type AgentOptions, agentAddress, onAgent } from "./agent-address.ts";
import { coloured, duration, instant, size } from "./words.ts";

export function registerStatus(program: Command, output: Output): void {
  onAgent(program, "status", "what this node is, how far it came, and what stands in its way").action(
    async (options: AgentOptions) => {
      const { METHOD, askAgent } = await import("./node-client.ts");
      const status = await askAgent(agentAddress(options), METHOD.getStatus, {});
      output.result(status, (style) => statusText(status, style));
    },
  );
}

export function statusText(status: Status, style: Style): string {
  const parts = [fields(summary(status, style), style), phases(status, style)];
  if (status.failure !== undefined) parts.push(failureText(status.failure, style));
  return parts.join("\n\n");
}

function summary(status: Status, style: Style): [string, string][] {
  const { disk, lease, host } = status;
  const rows: [string, string][] = [
    ["node", printable(status.node || "-")],
    ["state", coloured(status.state, style)],
    ["version", status.version],
    ["tee", status.tee || "-"],
    [
      "evidence",
      status.evidenceSha256 === ""
        ? "-"
        : `${status.evidenceSha256.slice(0, 16)}…  ${instant(status.attestedUnixMs)}`,
    ],
    ["disk", disk === undefined ? "-" : diskLine(disk)],
    ["lease", lease === undefined ? "-" : `${lease.id}, until ${instant(lease.expiresUnixMs)}`],
  ];
  if (host !== undefined) {
    const memory = `${size(host.memoryAvailableBytes)} of ${size(host.memoryBytes)} free`;
    rows.push([
      "host",
      printable(`${host.os}, Linux ${host.kernel}, ${host.cores} × ${host.cpu}, ${memory}`),
    ]);
  }
  return rows;
}

function diskLine(disk: Disk): string {
  const open = disk.open ? `open${disk.mountPoint === "" ? "" : ` at ${disk.mountPoint}`}` : "closed";
  return [disk.state, open, disk.device, `epoch ${disk.epoch}`].filter((part) => part !== "").join(", ");
}

function phases(status: Status, style: Style): string {
  const rows = status.phases.map(({ name, state, durationMs, attempts, detail }) => [
    name,
    coloured(state, style),
    state === "pending" ? "" : duration(durationMs),
    attempts > 1 ? `${attempts}` : "",
    printable(detail),
  ]);
  return table(["phase", "state", "time", "tries", ""], rows, style);
}

function failureText(failure: Failure, style: Style): string {
  const lines = [`${style.red(style.bold(failure.code))} in ${failure.phase}: ${printable(failure.message)}`];
  if (failure.expected !== "") lines.push(`  expected  ${printable(failure.expected)}`);
  if (failure.found !== "") lines.push(`  found     ${printable(failure.found)}`);
  lines.push(style.cyan(`  ${printable(failure.remedy)}`));
  return lines.join("\n");
}
