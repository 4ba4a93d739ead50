/** Runs in a page: fetches the tests' questions, judges them with WebCrypto, and posts the answers. */
import { appraise } from "../../agent/attest/appraise.ts";
import { webCrypto } from "../../agent/attest/webcrypto.ts";
import type { Answers, Questions } from "./questions.ts";
import { unpack } from "./transfer.ts";

async function answer(): Promise<Answers> {
  const response = await fetch("/questions");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the test's own words
  const questions = unpack(await response.text()) as Questions;
  const crypto = webCrypto();
  const begin = performance.now();
  const verdicts: string[] = [];
  for (const input of questions.appraisals)
    verdicts.push(JSON.stringify(await appraise({ ...input, crypto })));
  const signatures: boolean[] = [];
  for (const { algorithm, spki, signature, data } of questions.signatures)
    signatures.push(await crypto.verify(algorithm, spki, signature, data));
  return {
    verdicts,
    signatures,
    foreign: ["process", "Buffer", "require", "module"].filter((name) => name in globalThis),
    agent: navigator.userAgent,
    milliseconds: performance.now() - begin,
  };
}

answer()
  .catch((thrown: unknown) => ({ error: thrown instanceof Error ? String(thrown.stack) : String(thrown) }))
  .then((body) => fetch("/answers", { method: "POST", body: JSON.stringify(body) }))
  .catch(() => undefined);
