/** What a failed scenario shows: each machine's console, the agent's last status and events, the KMS's audit log. */
import type { Lab } from "./lab.ts";
import { started } from "./node.ts";

const CONSOLE_LINES = 150;

function indented(text: string): string {
  return text.replaceAll(/^/gmu, "    | ");
}

/** Call it in each `describe`: reports a failed test's machines, and forgets those of every test. */
export function reportFailures(lab: () => Lab | undefined): void {
  afterEach(async function () {
    const nodes = started.splice(0);
    if (this.currentTest?.state !== "failed") return;
    for (const node of nodes) {
      console.log(`    ${node.name}: ${node.ended?.how ?? "running"}; its console:`);
      console.log(indented(node.console.split("\n").slice(-CONSOLE_LINES).join("\n")));
      if (node.lastStatus !== undefined)
        console.log(indented(`status: ${JSON.stringify(node.lastStatus, undefined, 1)}`));
      for (const event of node.events) console.log(indented(JSON.stringify(event)));
      const history = await lab()
        ?.history(node.name)
        .catch((error: unknown) => [String(error)]);
      console.log(indented(`audit: ${(history ?? []).join(", ")}`));
    }
  });
}
