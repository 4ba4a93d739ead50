/**
 * The log: JSON lines to standard output, which is the journal's under systemd.
 *
 * INVARIANT (I9): a secret can't be logged, by type: a line is made of the fields below and no others, and none of them
 * takes bytes or an object. Messages are the program's own words and those of `SealetError`.
 */
import { format, transports, createLogger as winston } from "winston";
import type { Code } from "./error.ts";

const LEVELS = ["error", "warn", "info", "debug"] as const;
type Level = (typeof LEVELS)[number];

/** All that can be logged. What is missing here is added here, with a type as narrow as it can be. */
interface Fields {
  readonly code?: Code | undefined;
  readonly phase?: string;
  readonly kind?: string;
  readonly sequence?: number;
  readonly durationMs?: number;
  readonly expected?: string | undefined;
  readonly found?: string | undefined;
  /** Of a defect of ours. */
  readonly stack?: string | undefined;
}

export interface Log {
  (level: Level, message: string, fields?: Fields): void;
}

/** What a caller without types could still hand over is dropped, not printed. */
function scalars(fields: Fields): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => typeof value === "string" || typeof value === "number"),
  );
}

export interface Logger {
  readonly log: Log;
  readonly setLevel: (level: Level) => void;
}

export function createLogger(stream: NodeJS.WritableStream = process.stdout): Logger {
  const logger = winston({
    level: "info",
    levels: Object.fromEntries(LEVELS.map((name, index) => [name, index])),
    format: format.combine(format.timestamp(), format.json()),
    transports: [new transports.Stream({ stream })],
  });
  return {
    log: (at, message, fields = {}) => void logger.log({ ...scalars(fields), level: at, message }),
    setLevel: (level) => {
      logger.level = level;
    },
  };
}
