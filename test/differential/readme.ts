/** Every disagreement that is known, and the README's table of them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format } from "prettier";
import type { Disagreement } from "./compare.ts";
import { KNOWN_SNP } from "./known-snp.ts";
import { KNOWN_TDX } from "./known-tdx.ts";

export const KNOWN: readonly Disagreement[] = [...KNOWN_SNP, ...KNOWN_TDX];
const README = join(import.meta.dirname, "README.md");
const MARK = "<!-- the tables of known-snp.ts and known-tdx.ts; written by run.ts --write -->";

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** The rows as a table, in Markdown. */
function markdown(known: readonly Disagreement[]): string {
  const lines = known.map(({ peers, what, they, we, why }) => {
    const said = they === "accepts" ? "accepts" : `says \`${cell(they.source)}\``;
    const ours = we === "accepts" ? "accept" : `refuse ${we.map((code) => `\`${code}\``).join(", ")}`;
    return `| ${peers.join(", ")} | ${cell(what)} | ${said} | ${ours} | ${cell(why)} |`;
  });
  return [
    "| peer | what | peer | we | why ours is right |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}

/** Whether the README has today's table. @param write makes it so */
export async function readmeIsRight(write: boolean): Promise<boolean> {
  const now = readFileSync(README, "utf8");
  const [before = ""] = now.split(MARK);
  const text = `${before}${MARK}\n\n${markdown(KNOWN)}\n`;
  const right = await format(text, { parser: "markdown", printWidth: 110 });
  if (write) writeFileSync(README, right);
  return write || now === right;
}
