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

/** One token a match: a string, or what opens, closes or separates. Everything else doesn't matter here. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],]/g;

/** @param text JSON that has been found valid */
function refuseDuplicates(text: string, what: string): void {
  /** The keys of each object that is open; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  let key = false;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token === "{" || token === "[") {
      if (open.length === MAX_DEPTH)
        throw new Malformed("TOO_LARGE", what, index, `nested deeper than ${MAX_DEPTH}`);
      open.push(token === "{" ? new Set() : undefined);
      key = token === "{";
    } else if (token === "}" || token === "]") {
      open.pop();
      key = false;
    } else if (token === ",") key = open.at(-1) !== undefined;
    else if (key) {
      const name = String(JSON.parse(token));
      const keys = open.at(-1);
      if (keys?.has(name) === true)
        throw new Malformed("DUPLICATE", what, index, `key ${token.slice(0, 80)} twice`);
      keys?.add(name);
      key = false;
    }
  }
}
