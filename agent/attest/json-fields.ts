/**
 * Reads the fields of a JSON object that was parsed, each as what it has to be: for documents with hundreds of fields,
 * where a schema library costs more than the signature. A field that is missing or of another form throws `Malformed`
 * with its path. Keys that nobody asks for are passed over: who must not have them uses a strict schema.
 */
import { fromHex } from "./bytes.ts";
import { utc } from "./calendar.ts";
import { attempt, Malformed } from "./malformed.ts";

export class Fields {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #what: string;
  /** Where it stands in the document; written as a path only for a message. */
  readonly #within: readonly [parent: Fields, key: string, index?: number] | undefined;

  /** @param what names the document in errors */
  constructor(value: unknown, what: string, within?: readonly [parent: Fields, key: string, index?: number]) {
    this.#what = what;
    this.#within = within;
    const record = asRecord(value);
    this.#value = record ?? {};
    if (record === undefined) this.#fail("", "no object");
  }

  #path(): string {
    if (this.#within === undefined) return "";
    const [parent, key, index] = this.#within;
    return `${parent.#path()}${key}.${index === undefined ? "" : `${index}.`}`;
  }

  #fail(key: string, why: string): never {
    const path = `${this.#path()}${key}`.replace(/\.$/, "");
    throw new Malformed("UNEXPECTED", this.#what, 0, path === "" ? why : `${path}: ${why}`);
  }

  object(key: string): Fields {
    return new Fields(this.#value[key], this.#what, [this, key]);
  }

  /** A list that may have no entry may be absent. */
  #list<T>(
    key: string,
    least: number,
    most: number,
    read: (entry: unknown, index: number) => T,
  ): readonly T[] {
    const value = this.#value[key];
    if (value === undefined && least === 0) return [];
    if (!Array.isArray(value)) return this.#fail(key, "no list");
    if (value.length < least || value.length > most)
      return this.#fail(key, `${value.length} entries, not ${least} to ${most}`);
    return value.map(read);
  }

  objects<T>(key: string, least: number, most: number, read: (entry: Fields) => T): readonly T[] {
    return this.#list(key, least, most, (entry, i) => read(new Fields(entry, this.#what, [this, key, i])));
  }

  texts(key: string, most: number, form: RegExp): readonly string[] {
    return this.#list(key, 0, most, (entry, i) =>
      typeof entry === "string" && form.test(entry) ? entry : this.#fail(`${key}.${i}`, `not ${form.source}`),
    );
  }

  text(key: string, form: RegExp): string {
    const value = this.#value[key];
    return typeof value === "string" && form.test(value) ? value : this.#fail(key, `not ${form.source}`);
  }

  /** The one value that is understood here. */
  constant(key: string, value: string | number): void {
    if (this.#value[key] !== value) this.#fail(key, `not ${JSON.stringify(value)}`);
  }

  word<Word extends string>(key: string, words: readonly Word[]): Word {
    const value = this.#value[key];
    return words.find((word) => word === value) ?? this.#fail(key, `not one of ${words.join(", ")}`);
  }

  integer(key: string, least: number, most: number): number {
    const value = this.#value[key];
    return isWithin(value, least, most) ? value : this.#fail(key, `no integer of ${least} to ${most}`);
  }

  /** Of a list of so many objects the integer that each has under one name. */
  integers(key: string, size: number, name: string, least: number, most: number): readonly number[] {
    return this.#list(key, size, size, (entry, i) => {
      const value = asRecord(entry)?.[name];
      return isWithin(value, least, most)
        ? value
        : this.#fail(`${key}.${i}.${name}`, `no integer of ${least} to ${most}`);
    });
  }

  /** Hex of so many bytes, in either case. */
  hex(key: string, size: number): Uint8Array {
    const value = this.#value[key];
    if (typeof value !== "string" || value.length !== 2 * size)
      return this.#fail(key, `no hex of ${size} bytes`);
    const bytes = attempt(() => fromHex(value));
    return bytes.ok ? bytes.value : this.#fail(key, bytes.refusal.why);
  }

  /** A moment of the form YYYY-MM-DDTHH:MM:SSZ. @returns ms since 1970 */
  time(key: string): number {
    const value = this.#value[key];
    const ms = typeof value === "string" ? timeOf(value) : undefined;
    return ms ?? this.#fail(key, "no time of the form YYYY-MM-DDTHH:MM:SSZ");
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what an object of JSON is
  return value as Readonly<Record<string, unknown>>;
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}

/** "0000-00-00T00:00:00Z": digits where it has zeros, and else the same. */
const FORM = Array.from("0000-00-00T00:00:00Z", (letter) => letter.charCodeAt(0));
const ZERO = 0x30;

function timeOf(text: string): number | undefined {
  if (text.length !== FORM.length) return undefined;
  for (let i = 0; i < FORM.length; i++) {
    const code = text.charCodeAt(i);
    if (FORM[i] === ZERO ? code < ZERO || code > ZERO + 9 : code !== FORM[i]) return undefined;
  }
  const two = (at: number): number => 10 * (text.charCodeAt(at) - ZERO) + text.charCodeAt(at + 1) - ZERO;
  return utc(100 * two(0) + two(2), two(5), two(8), two(11), two(14), two(17));
}
