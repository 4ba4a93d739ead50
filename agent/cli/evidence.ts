/** `sealet evidence`: asks this machine's TEE for evidence, to be judged elsewhere. */
import type { Command } from "commander";
import type { Evidence } from "../api/gen/sealet.ts";
import { type Output, type Style, fields, toJson } from "./output.ts";
import { type AgentOptions, agentAddress, onAgent } from "./agent-address.ts";
import { writeFile } from "./files.ts";
import { hexBytes } from "./hex-option.ts";

interface EvidenceOptions extends AgentOptions {
  readonly nonce: Buffer;
  readonly out?: string;
}

/** A platform may take its time, and has others to serve. */
const TIMEOUT = 70_000;

export function registerEvidence(program: Command, output: Output): void {
  onAgent(program, "evidence", "ask the machine's TEE for evidence, for 'sealet verify'")
    .requiredOption("--nonce <hex>", "1 to 64 bytes of the verifier's", hexBytes)
    .option("--out <file>", "write it there, as 'sealet verify' reads it")
    .action(async ({ nonce, out, ...agent }: EvidenceOptions) => {
      const { METHOD, askAgent } = await import("./node-client.ts");
      const { evidenceReportData } = await import("../attest/report-data.ts");
      const { nodeCrypto } = await import("../crypto/node.ts");
      const evidence = await askAgent(agentAddress(agent), METHOD.getEvidence, { nonce }, TIMEOUT);
      const reportData = Buffer.from(await evidenceReportData(nodeCrypto(), nonce));
      const result = { ...evidence, reportData };
      if (out !== undefined) writeFile(out, `${JSON.stringify(toJson(result))}\n`);
      output.result(result, (style) => evidenceText(evidence, reportData, nonce, out, style));
    });
}

function evidenceText(
  evidence: Evidence,
  reportData: Buffer,
  nonce: Buffer,
  out: string | undefined,
  style: Style,
): string {
  const about = fields(
    [
      ["tee", evidence.tee],
      ["report", `${evidence.report.length} bytes`],
      ["certificates", `${evidence.auxiliary.length} bytes`],
      ["event log", `${evidence.eventLog.length} bytes`],
      ["report data", reportData.toString("hex")],
    ],
    style,
  );
  const hint =
    out === undefined
      ? "With --out FILE or -o json you get the evidence itself."
      : `sealet verify ${out} --nonce ${nonce.toString("hex")} --policy POLICY`;
  return `${about}\n\n${style.cyan(hint)}`;
}
