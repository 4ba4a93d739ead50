/** A machine's serial console: its lines with the time they came, and waiting for one of them. */

export interface Line {
  /** Seconds since power-on. */
  readonly at: number;
  /** Seconds of processor time that the machine had used by then; other than `at` it does not grow with the host's load. */
  readonly cpu: number;
  readonly text: string;
}

/** The firmware draws with CSI sequences, systemd resets the terminal with OSC ones (ECMA-48). */
const ESCAPES =
  // oxlint-disable-next-line no-control-regex -- they are made of control characters
  /\u001b\[[0-9;?=!]*[A-Za-z]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[\u0000-\u0008\u000b-\u001f]/gu;

interface Waiter {
  readonly pattern: RegExp;
  readonly found: (line: Line) => void;
  readonly failed: (error: Error) => void;
}

export class Console {
  readonly #since: number;
  readonly #cpu: () => number;
  readonly #lines: Line[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #watchers = new Set<(line: Line) => void>();
  #rest = "";
  #ended: Error | undefined;

  /** @param cpu the machine's processor time, in seconds */
  constructor(since: number, cpu: () => number) {
    this.#since = since;
    this.#cpu = cpu;
  }

  get lines(): readonly Line[] {
    return this.#lines;
  }

  get text(): string {
    return this.#lines.map(({ text }) => text).join("\n");
  }

  /** The machine is off, or is taken to be. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Calls back for every line, past and to come. */
  watch(watcher: (line: Line) => void): void {
    for (const line of this.#lines) watcher(line);
    this.#watchers.add(watcher);
  }

  feed(bytes: Buffer): void {
    const parts = (this.#rest + bytes.toString("latin1")).split(/\r?\n|\r/u);
    this.#rest = parts.pop() ?? "";
    for (const part of parts) {
      const text = part.replaceAll(ESCAPES, "").trimEnd();
      if (text === "") continue;
      const line = { at: (performance.now() - this.#since) / 1000, cpu: this.#cpu(), text };
      this.#lines.push(line);
      for (const watcher of this.#watchers) watcher(line);
      for (const waiter of this.#waiters) if (waiter.pattern.test(text)) waiter.found(line);
    }
  }

  fail(error: Error): void {
    this.#ended ??= error;
    for (const waiter of this.#waiters) waiter.failed(error);
  }

  end(why: string): void {
    this.fail(new Error(why));
  }

  /** The first line, past or to come, that matches. @throws if the machine goes off before, or after the time */
  async waitFor(pattern: RegExp, seconds: number): Promise<Line> {
    const past = this.#lines.find(({ text }) => pattern.test(text));
    if (past !== undefined) return past;
    if (this.#ended !== undefined) throw this.#lost(pattern, this.#ended.message);
    return new Promise<Line>((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        pattern,
        found: (line) => {
          done();
          resolve(line);
        },
        failed: (error) => {
          done();
          reject(this.#lost(pattern, error.message));
        },
      };
      const timer = setTimeout(() => {
        waiter.failed(new Error(`${seconds} s are over`));
      }, seconds * 1000);
      this.#waiters.add(waiter);
    });
  }

  #lost(pattern: RegExp, why: string): Error {
    const last = this.#lines.slice(-20).map(({ at, text }) => `    ${at.toFixed(2).padStart(7)} ${text}`);
    return new Error(
      [`The console did not say ${String(pattern)}: ${why}. Its last lines:`, ...last].join("\n"),
    );
  }
}
