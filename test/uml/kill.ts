/**
 * SIGKILL for a process of a user-mode Linux guest that may be forking. That kernel (6.12) panics when a fork is killed
 * half-way: it frees a copy of the memory whose areas are not all there. So the process is stopped first, which waits
 * for the fork's end; only its first thread forks.
 */
import { readFileSync } from "node:fs";

/** @param pid a child's; blocks, so that nobody else takes its end in the meantime */
export function kill(pid: number): void {
  process.kill(pid, "SIGSTOP");
  while (!/\) [TZ] /u.test(readFileSync(`/proc/${pid}/stat`, "latin1")));
  process.kill(pid, "SIGKILL");
}

/** The same for bash: `stop_and_kill PID`. */
export const STOP_AND_KILL = `
stop_and_kill() {
  kill -STOP "$1" || return
  while read -r stat < "/proc/$1/stat" && [[ $stat != *") T "* ]]; do :; done
  kill -KILL "$1"
}`;
