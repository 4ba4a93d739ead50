/** Sizes, times and states as people read them. */
import type { Style } from "./output.ts";

export function duration(ms: bigint | number): string {
  const value = Number(ms);
  if (value < 1000) return `${value} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(1)} s`;
  const minutes = Math.floor(value / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((value % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function size(bytes: bigint | number): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? ""}`;
}

/** @param unixMs 0: never */
export function instant(unixMs: bigint | number): string {
  return Number(unixMs) === 0 ? "never" : new Date(Number(unixMs)).toISOString();
}

/** Of a node, a phase or an event. */
export function coloured(state: string, style: Style): string {
  switch (state) {
    case "serving":
    case "done":
      return style.green(state);
    case "failed":
    case "locked":
      return style.red(style.bold(state));
    case "retrying":
    case "retried":
      return style.yellow(state);
    case "pending":
    case "skipped":
      return style.dim(state);
    default:
      return state;
  }
}
