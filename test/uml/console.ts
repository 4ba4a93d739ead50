/** What a guest printed, without the carriage returns of its terminal. */
export class Console {
  #text = "";
  #closed = false;
  readonly #watchers = new Set<() => void>();

  get text(): string {
    return this.#text;
  }

  add(chunk: string): void {
    this.#text += chunk.replaceAll("\r", "");
    for (const watch of this.#watchers) watch();
  }

  /** Nothing more will come. */
  close(): void {
    this.#closed = true;
    for (const watch of this.#watchers) watch();
  }

  /** Resolves with the match once it is there. @throws if the console closes or the time is over before */
  async waitFor(pattern: RegExp, milliseconds: number): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const fail = (what: string): void => {
      reject(new Error(`${what} without ${String(pattern)}:\n${this.#text.slice(-2000)}`));
    };
    const look = (): void => {
      const match = pattern.exec(this.#text);
      if (match !== null) resolve(match);
      else if (this.#closed) fail("the guest ended");
    };
    const limit = setTimeout(fail, milliseconds, `${milliseconds} ms`);
    this.#watchers.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(limit);
      this.#watchers.delete(look);
    }
  }
}
