/**
 * JSON of signed files, strictly: UTF-8, and no key twice in an object. `JSON.parse` takes the last of two, another reader
 * the first, and then a signature stands for two documents.
 */
import { utf8 } from "./bytes.ts";
import { Malformed } from "./malformed.ts";

const MAX_DEPTH = 64;

/** @throws Malformed */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  const text = utf8(bytes, what);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new Malformed("ENCODING", what, 0, thrown instanceof Error ? thrown.message : "not JSON");
  }
  refuseDuplicates(text, what);
  return value;
}

/** What opens, closes or separates, and where a string begins. Everything else doesn't matter here. */
const TOKEN = /["{}[\],]/g;

/** @param text JSON that has been found valid */
function refuseDuplicates(text: string, what: string): void {
  /** The keys of each object that is open; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  let key = false;
  const tokens = new RegExp(TOKEN);
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const { 0: token, index } = match;
    if (token === "{" || token === "[") {
      if (open.length === MAX_DEPTH)
        throw new Malformed("TOO_LARGE", what, index, `nested deeper than ${MAX_DEPTH}`);
      open.push(token === "{" ? new Set() : undefined);
      key = token === "{";
    } else if (token === "}" || token === "]") {
      open.pop();
      key = false;
    } else if (token === ",") key = open.at(-1) !== undefined;
    else {
      tokens.lastIndex = endOfString(text, index);
      if (!key) continue;
      const quoted = text.slice(index, tokens.lastIndex);
      const name = String(JSON.parse(quoted));
      const keys = open.at(-1);
      if (keys?.has(name) === true)
        throw new Malformed("DUPLICATE", what, index, `key ${quoted.slice(0, 80)} twice`);
      keys?.add(name);
      key = false;
    }
  }
}

/** One past the closing quote. By hand: an expression's stack is not enough for a string of megabytes. */
function endOfString(text: string, start: number): number {
  let end = start;
  do end = text.indexOf('"', end + 1);
  while (isEscaped(text, end));
  return end + 1;
}

/** After an odd number of backslashes. */
function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (text[first - 1] === "\\") first--;
  return (at - first) % 2 === 1;
}
